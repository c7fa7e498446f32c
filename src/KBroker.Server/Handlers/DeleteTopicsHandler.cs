using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>DeleteTopics: by name, or from version 6 on by id.</summary>
/// <remarks>
/// Where <c>delete.topic.enable</c> is false, clients up to version 2 are told INVALID_REQUEST: they do not know
/// TOPIC_DELETION_DISABLED. A topic that the client may not even see is unknown to it when it is given by id.
/// </remarks>
/// <param name="controller">Deletes them.</param>
/// <param name="metadata">The metadata, for the names of ids.</param>
/// <param name="authorizer">Decides who may delete.</param>
public sealed class DeleteTopicsHandler(IController controller, IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<DeleteTopicsRequest, DeleteTopicsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DeleteTopics;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        DeleteTopicsRequest request, RequestContext context)
    {
        var refused = new List<DeleteTopicsResponse.DeletableTopicResult>();
        request.TopicNames.RemoveAll(name => Refuse(name, Uuid.Zero));
        request.Topics.RemoveAll(topic => Refuse(topic.Name, topic.TopicId));
        var response = await controller.DeleteTopicsAsync(request, context.Closing).ConfigureAwait(false);
        if (context.ApiVersion < 3)
        {
            foreach (var topic in response.Responses)
            {
                if (topic.ErrorCode == ErrorCode.TopicDeletionDisabled)
                    topic.ErrorCode = ErrorCode.InvalidRequest;
            }
        }

        response.Responses.AddRange(refused);
        return response;

        bool Refuse(string? name, Uuid id)
        {
            var known = name ?? metadata.Image.Topics.Find(id)?.Name;
            if (known is null || authorizer.Topic(context, AclOperation.Delete, known))
                return false;
            var mayKnow = name is not null || authorizer.Topic(context, AclOperation.Describe, known);
            refused.Add(new DeleteTopicsResponse.DeletableTopicResult
            {
                Name = mayKnow ? known : null,
                TopicId = id,
                ErrorCode = ErrorCode.TopicAuthorizationFailed,
            });
            return true;
        }
    }
}

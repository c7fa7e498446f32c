using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>CreateTopics: with counts or manual assignments, with configs, or only validated.</summary>
/// <remarks>A topic may be created by whoever may create in the cluster, or that very topic.</remarks>
/// <param name="controller">Creates them.</param>
/// <param name="authorizer">Decides who may create.</param>
public sealed class CreateTopicsHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<CreateTopicsRequest, CreateTopicsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.CreateTopics;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        CreateTopicsRequest request, RequestContext context)
    {
        var refused = authorizer.Cluster(context, AclOperation.Create)
            ? []
            : request.Topics.FindAll(topic => !authorizer.Topic(context, AclOperation.Create, topic.Name));
        request.Topics.RemoveAll(refused.Contains);
        var response = await controller.CreateTopicsAsync(request, context.Closing).ConfigureAwait(false);
        foreach (var topic in refused)
        {
            response.Topics.Add(new CreateTopicsResponse.CreatableTopicResult
            {
                Name = topic.Name,
                ErrorCode = ErrorCode.TopicAuthorizationFailed,
            });
        }

        foreach (var topic in response.Topics)
        {
            if (topic.Configs is null || authorizer.Topic(context, AclOperation.DescribeConfigs, topic.Name))
                continue;
            topic.Configs = null;
            topic.NumPartitions = -1;
            topic.ReplicationFactor = -1;
            topic.TopicConfigErrorCode = ErrorCode.TopicAuthorizationFailed;
        }

        return response;
    }
}

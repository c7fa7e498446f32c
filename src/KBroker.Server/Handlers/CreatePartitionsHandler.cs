using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>CreatePartitions: raises the number of partitions of topics.</summary>
/// <param name="controller">Creates them.</param>
/// <param name="authorizer">Decides who may alter a topic.</param>
public sealed class CreatePartitionsHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<CreatePartitionsRequest, CreatePartitionsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.CreatePartitions;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        CreatePartitionsRequest request, RequestContext context)
    {
        var refused = request.Topics.FindAll(topic => !authorizer.Topic(context, AclOperation.Alter, topic.Name));
        request.Topics.RemoveAll(refused.Contains);
        var response = await controller.CreatePartitionsAsync(request, context.Closing).ConfigureAwait(false);
        foreach (var topic in refused)
        {
            response.Results.Add(new CreatePartitionsResponse.CreatePartitionsTopicResult
            {
                Name = topic.Name,
                ErrorCode = ErrorCode.TopicAuthorizationFailed,
            });
        }

        return response;
    }
}

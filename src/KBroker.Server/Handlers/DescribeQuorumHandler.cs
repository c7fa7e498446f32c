using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>DescribeQuorum: leader, voters and observers of the metadata log (KIP-595).</summary>
/// <param name="controller">Answers.</param>
/// <param name="authorizer">Decides who may ask.</param>
public sealed class DescribeQuorumHandler(IController controller, IAuthorizer authorizer)
    : RequestHandler<DescribeQuorumRequest, DescribeQuorumResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DescribeQuorum;

    /// <inheritdoc/>
    protected override async ValueTask<IResponseMessage?> HandleAsync(
        DescribeQuorumRequest request, RequestContext context) =>
        authorizer.Cluster(context, AclOperation.Describe)
            ? await controller.DescribeQuorumAsync(request, context.Closing).ConfigureAwait(false)
            : new DescribeQuorumResponse { ErrorCode = ErrorCode.ClusterAuthorizationFailed };
}

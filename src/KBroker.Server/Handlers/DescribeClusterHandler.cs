using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Security;

namespace KBroker.Server.Handlers;

/// <summary>
/// DescribeCluster: cluster id, controller, and the endpoints of brokers (on broker listeners) or controllers (on the
/// controller listener). Asking a listener for the other kind is MISMATCHED_ENDPOINT_TYPE (KIP-919).
/// </summary>
/// <param name="metadata">The metadata.</param>
/// <param name="authorizer">Decides what the client is told of its own rights.</param>
public sealed class DescribeClusterHandler(IMetadataLog metadata, IAuthorizer authorizer)
    : RequestHandler<DescribeClusterRequest, DescribeClusterResponse>
{
    private const sbyte Brokers = 1;
    private const sbyte Controllers = 2;

    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.DescribeCluster;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(DescribeClusterRequest request, RequestContext context)
    {
        var served = context.Session.IsControllerListener ? Controllers : Brokers;
        var response = new DescribeClusterResponse { EndpointType = request.EndpointType };
        if (request.EndpointType is not (Brokers or Controllers))
        {
            response.ErrorCode = ErrorCode.UnsupportedEndpointType;
            response.ErrorMessage = $"Unsupported endpoint type {request.EndpointType}";
        }
        else if (request.EndpointType != served)
        {
            response.ErrorCode = ErrorCode.MismatchedEndpointType;
            response.ErrorMessage = $"The request was sent to an endpoint of type {Name(served)}, but we wanted an "
                + $"endpoint of type {Name(request.EndpointType)}";
        }
        else
        {
            Describe(response, request, context);
        }

        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    private static string Name(sbyte endpointType) => endpointType == Brokers ? "BROKER" : "CONTROLLER";

    private static void Add(
        DescribeClusterResponse response, int id, NodeEndpoint? endpoint, string? rack, bool isFenced)
    {
        if (endpoint is null)
            return;
        response.Brokers.Add(new DescribeClusterResponse.DescribeClusterBroker
        {
            BrokerId = id,
            Host = endpoint.Host,
            Port = endpoint.Port,
            Rack = rack,
            IsFenced = isFenced,
        });
    }

    private void Describe(DescribeClusterResponse response, DescribeClusterRequest request, RequestContext context)
    {
        var image = metadata.Image;
        response.ClusterId = image.ClusterId;
        response.ControllerId = image.ControllerId;
        if (request.EndpointType == Controllers)
        {
            foreach (var controller in image.Controllers.Values)
            {
                var endpoint = controller.Endpoints.FirstOrDefault(e => e.Name == context.ListenerName);
                Add(response, controller.Id, endpoint, rack: null, isFenced: false);
            }
        }
        else
        {
            foreach (var broker in image.Brokers.Values)
            {
                if (!broker.Fenced || request.IncludeFencedBrokers)
                    Add(response, broker.Id, broker.Endpoint(context.ListenerName), broker.Rack, broker.Fenced);
            }
        }

        if (request.IncludeClusterAuthorizedOperations)
        {
            response.ClusterAuthorizedOperations = authorizer.Cluster(context, AclOperation.Describe)
                ? AuthorizedOperations.Cluster
                : 0;
        }
    }
}

using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;
using KBroker.Server.Net.Listeners;
using KBroker.Server.Security;
using KBroker.Server.Tests.Net;

namespace KBroker.Server.Tests.Dispatch;

public sealed class RequestDispatcherTests
{
    private static readonly ListenerSettings TwoListeners = new()
    {
        Listeners = "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
        ControllerListenerNames = "CONTROLLER",
    };

    [Fact]
    public async Task An_unknown_version_of_ApiVersions_is_answered_with_what_is_served()
    {
        await using var network = new TestNetwork([ApiVersions()]);
        using var client = network.Connect();
        // Version 99 with a body that only a newer broker could read.
        client.SendRaw([0, 0, 0, 13, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 1, 2, 3]);
        var (id, response) = client.Receive<ApiVersionsResponse>(0);
        Assert.Equal(7, id);
        Assert.Equal(ErrorCode.UnsupportedVersion, response.ErrorCode);
        var row = Assert.Single(response.ApiKeys);
        Assert.Equal((18, 0, 4), (row.ApiKey, row.MinVersion, row.MaxVersion));
        // The connection goes on.
        client.Send(new ApiVersionsRequest { ClientSoftwareName = "x", ClientSoftwareVersion = "1" }, 4, 8);
        Assert.Equal(ErrorCode.None, client.Receive<ApiVersionsResponse>(4).Response.ErrorCode);
    }

    [Fact]
    public async Task Each_kind_of_listener_offers_its_own_apis()
    {
        await using var network = new TestNetwork(
            [ApiVersions(), Echo.Handler, NoOp<ProduceRequest, ProduceResponse>(ApiKey.Produce),
                NoOp<VoteRequest, VoteResponse>(ApiKey.Vote)],
            listeners: TwoListeners);
        using var broker = network.Connect();
        broker.Send(new ApiVersionsRequest(), 0, 1);
        var rows = broker.Receive<ApiVersionsResponse>(0).Response.ApiKeys;
        Assert.Equal([0, 12, 18], rows.Select(r => (int)r.ApiKey));
        Assert.Equal((0, 13), (rows[0].MinVersion, rows[0].MaxVersion));
        using var controller = network.Connect("CONTROLLER");
        controller.Send(new ApiVersionsRequest(), 0, 1);
        Assert.Equal([18, 52], controller.Receive<ApiVersionsResponse>(0).Response.ApiKeys.Select(r => (int)r.ApiKey));
        controller.SendEcho(1);
        Assert.True(controller.IsClosedByBroker());
    }

    [Fact]
    public void Unstable_versions_are_served_only_when_switched_on()
    {
        var handler = NoOp<InitProducerIdRequest, InitProducerIdResponse>(ApiKey.InitProducerId);
        Assert.Equal(5, new ApiTable([handler]).Served(ApiListeners.Broker)[0].MaxVersion);
        Assert.Equal(6, new ApiTable([handler], enableUnstable: true).Served(ApiListeners.Broker)[0].MaxVersion);
        Assert.Throws<ArgumentException>(() => new ApiTable([handler, handler]));
    }

    [Fact]
    public async Task The_context_tells_who_asks_for_what()
    {
        RequestContext? seen = null;
        var checks = new List<object?>();
        await using var network = new TestNetwork([Echo.On((request, context) =>
        {
            seen = context;
            checks.Add((context.ApiKey, context.ApiVersion, context.CorrelationId, context.ClientId));
            checks.Add(context.Principal);
            checks.Add(context.ListenerName);
            checks.Add(context.SecurityProtocol);
            checks.Add(new AllowAllAuthorizer().Authorize(context, AclOperation.Read, AclResourceType.Group, "g"));
            return new ValueTask<IResponseMessage?>(Echo.Answer(request.GenerationId));
        })]);
        using var client = network.Connect();
        client.SendRaw(TestClient.Frame(Echo.Request(5), 3, 5, "clïent"));
        Assert.Equal(5, client.Receive<HeartbeatResponse>(3).CorrelationId);
        client.SendRaw(TestClient.Frame(Echo.Request(6), 4, 6, null));
        Assert.Equal(6, client.ReceiveEcho());
        Assert.Equal((ApiKey.Heartbeat, (short)3, 5, "clïent"), checks[0]);
        Assert.Equal("User:ANONYMOUS", checks[1]!.ToString());
        Assert.Equal("PLAINTEXT", checks[2]);
        Assert.Equal(SecurityProtocol.Plaintext, checks[3]);
        Assert.Equal(true, checks[4]);
        Assert.Equal((ApiKey.Heartbeat, (short)4, 6, (string?)null), checks[5]);
        Assert.Equal(client.Socket.LocalEndPoint, seen!.Session.RemoteEndPoint);
    }

    [Fact]
    public async Task A_failed_request_gets_the_error_it_names()
    {
        await using var network = new TestNetwork([
            new TestHandler<FindCoordinatorRequest, FindCoordinatorResponse>(
                ApiKey.FindCoordinator,
                (_, _) => throw new RequestFailedException(ErrorCode.InvalidRequest, "key type 9 is not 0 or 1")),
        ]);
        using var client = network.Connect();
        client.Send(new FindCoordinatorRequest { Key = "k" }, 3, 1);
        var response = client.Receive<FindCoordinatorResponse>(3).Response;
        Assert.Equal(ErrorCode.InvalidRequest, response.ErrorCode);
        Assert.Equal("key type 9 is not 0 or 1", response.ErrorMessage);
        Assert.DoesNotContain(network.Log.Lines, l => l.StartsWith("Error", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_failure_that_no_answer_can_tell_closes_the_connection()
    {
        await using var network = new TestNetwork([
            new TestHandler<ProduceRequest, ProduceResponse>(
                ApiKey.Produce, (_, _) => throw new InvalidTimeZoneException("boom")),
        ]);
        using var client = network.Connect();
        client.Send(new ProduceRequest(), 9, 1);
        Assert.True(client.IsClosedByBroker());
        Assert.Single(network.Log.Lines, l => l.StartsWith("Error", StringComparison.Ordinal));
    }

    private static TestHandler<ApiVersionsRequest, ApiVersionsResponse> ApiVersions() =>
        new(ApiKey.ApiVersions, (_, context) => new ValueTask<IResponseMessage?>(new ApiVersionsResponse
        {
            ApiKeys = context.ServedApis.Select(a => new ApiVersionsResponse.ApiVersion
            {
                ApiKey = (short)a.Key,
                MinVersion = a.MinVersion,
                MaxVersion = a.MaxVersion,
            }).ToList(),
        }));

    private static TestHandler<TRequest, TResponse> NoOp<TRequest, TResponse>(ApiKey key)
        where TRequest : class, IRequestMessage, IMessage<TRequest>
        where TResponse : class, IResponseMessage, new() =>
        new(key, (_, _) => new ValueTask<IResponseMessage?>(new TResponse()));
}

using System.Reflection;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Produce;

namespace KBroker.Server.Tests.Produce;

public sealed class ProducerIdSourceTests
{
    [Fact]
    public async Task Ids_of_several_blocks_are_each_given_once_however_many_ask()
    {
        var controller = DispatchProxy.Create<IController, Blocks>();
        var source = new ProducerIdSource(controller, 7, static () => 42);
        var asked = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () =>
        {
            var mine = new List<long>();
            for (var i = 0; i < 50; i++)
            {
                var (error, id) = await source.NextAsync(CancellationToken.None);
                Assert.Equal(ErrorCode.None, error);
                mine.Add(id);
            }

            return mine;
        })));
        var ids = asked.SelectMany(static mine => mine).ToList();
        Assert.Equal(400, ids.Distinct().Count());

        // Blocks lie apart, as they do when several brokers take them in turns; none is asked for in vain.
        Assert.Equal(40, ((Blocks)(object)controller).Given);
        Assert.All(ids, static id => Assert.InRange(id % 1000, 0, 9));
    }

    [Fact]
    public async Task A_refusal_is_passed_on_and_the_next_try_may_succeed()
    {
        var controller = DispatchProxy.Create<IController, Blocks>();
        var blocks = (Blocks)(object)controller;
        var source = new ProducerIdSource(controller, 7, static () => 42);
        blocks.Error = ErrorCode.StaleBrokerEpoch;
        Assert.Equal((ErrorCode.StaleBrokerEpoch, -1), await source.NextAsync(CancellationToken.None));
        blocks.Error = ErrorCode.None;
        Assert.Equal((ErrorCode.None, 0), await source.NextAsync(CancellationToken.None));
    }

    /// <summary>
    /// A controller that gives blocks of ten ids and can do nothing else; open to the proxy that derives from it.
    /// </summary>
    public class Blocks : DispatchProxy
    {
        private int _given;

        public int Given => _given;

        public ErrorCode Error { get; set; }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            Assert.Equal(nameof(IController.AllocateProducerIdsAsync), targetMethod!.Name);
            var request = (AllocateProducerIdsRequest)args![0]!;
            Assert.Equal((7, 42L), (request.BrokerId, request.BrokerEpoch));
            var response = Error != ErrorCode.None
                ? new AllocateProducerIdsResponse { ErrorCode = Error }
                : new AllocateProducerIdsResponse
                {
                    ProducerIdStart = (Interlocked.Increment(ref _given) - 1) * 1000L,
                    ProducerIdLen = 10,
                };
            return ValueTask.FromResult(response);
        }
    }
}

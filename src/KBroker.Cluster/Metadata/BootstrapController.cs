#pragma warning disable CS1591
using KBroker.Cluster.Configuration;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using Microsoft.Extensions.Logging;
namespace KBroker.Cluster.Metadata;
public sealed class BootstrapControllerOptions { public required LocalMetadataLog Log {get;init;} public int NodeId{get;init;} public required ConfigView Configs{get;init;} public required TimeProvider Time{get;init;} public ILogger? Logger{get;init;} }
public sealed class BootstrapController(BootstrapControllerOptions o) : IController
{
    private readonly SemaphoreSlim _s = new(1,1);
    public async ValueTask<CreateTopicsResponse> CreateTopicsAsync(CreateTopicsRequest request, CancellationToken cancellation = default)
    {
        await _s.WaitAsync(cancellation);
        try {
        var r = new CreateTopicsResponse();
        foreach (var t in request.Topics) {
            var id = Uuid.Random();
            var recs = new List<MetadataRecord>{ new(new TopicRecord{Name=t.Name, TopicId=id},0)};
            for (var i=0;i<Math.Max(1,t.NumPartitions);i++) recs.Add(new(new PartitionRecord{PartitionId=i,TopicId=id,Replicas=[o.NodeId],Isr=[o.NodeId],Leader=o.NodeId,LeaderEpoch=0,PartitionEpoch=0},0));
            await o.Log.AppendAsync(recs);
            r.Topics.Add(new(){Name=t.Name,TopicId=id});
        }
        return r; } finally { _s.Release(); }
    }
    public async ValueTask<long> RegisterBrokerAsync(BrokerRegistration broker, bool cleanShutdown, CancellationToken cancellation = default)
    { var e = o.Log.PendingImage.Provenance.LastContainedOffset+1; return await o.Log.AppendAsync([new((broker with {Epoch=e}).ToRecord(),3)]); }
    public ValueTask<DeleteTopicsResponse> DeleteTopicsAsync(DeleteTopicsRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask<CreatePartitionsResponse> CreatePartitionsAsync(CreatePartitionsRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask<AlterConfigsResponse> AlterConfigsAsync(AlterConfigsRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask<IncrementalAlterConfigsResponse> IncrementalAlterConfigsAsync(IncrementalAlterConfigsRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask<ElectLeadersResponse> ElectLeadersAsync(ElectLeadersRequest request, short requestVersion, CancellationToken cancellation = default)=>default;
    public ValueTask<AlterPartitionReassignmentsResponse> AlterPartitionReassignmentsAsync(AlterPartitionReassignmentsRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask<ListPartitionReassignmentsResponse> ListPartitionReassignmentsAsync(ListPartitionReassignmentsRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask<UpdateFeaturesResponse> UpdateFeaturesAsync(UpdateFeaturesRequest request, short requestVersion, CancellationToken cancellation = default)=>default;
    public ValueTask<AllocateProducerIdsResponse> AllocateProducerIdsAsync(AllocateProducerIdsRequest request, CancellationToken cancellation = default)=>new(new AllocateProducerIdsResponse{ProducerIdStart=0,ProducerIdLen=1000});
    public ValueTask<UnregisterBrokerResponse> UnregisterBrokerAsync(UnregisterBrokerRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask<AlterPartitionResponse> AlterPartitionAsync(AlterPartitionRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask<DescribeQuorumResponse> DescribeQuorumAsync(DescribeQuorumRequest request, CancellationToken cancellation = default)=>default;
    public ValueTask BeginControlledShutdownAsync(int brokerId, long brokerEpoch, CancellationToken cancellation = default)=>default;
    public ValueTask DisposeAsync()=>default;
}

using System.Buffers;
using KBroker.Protocol.Records;

namespace KBroker.Storage.Tests;

public sealed class TransactionVerificationTests : IDisposable
{
    private readonly TestStorage _storage = new();

    public void Dispose() => _storage.Dispose();

    [Fact]
    public void The_first_batch_of_a_transaction_needs_the_coordinators_consent()
    {
        Assert.Equal(AppendError.InvalidTransactionState, Append(0, null).Error);
        var asked = _storage.Log.BeginVerification(7, 0, 0, isEpochBumped: false)!;
        Assert.Equal(AppendError.InvalidTransactionState, Append(0, null).Error);
        Assert.True(Append(0, asked).IsSuccess);
        // From then on the transaction is open here, and nobody is asked.
        Assert.Null(_storage.Log.BeginVerification(7, 0, 1, isEpochBumped: false));
        Assert.True(Append(1, null).IsSuccess);
    }

    [Fact]
    public void A_repeated_batch_is_recognised_also_when_its_transaction_is_over()
    {
        Append(0, _storage.Log.BeginVerification(7, 0, 0, isEpochBumped: false));
        Assert.True(Mark(ControlRecordType.Commit).IsSuccess);
        Assert.True(Append(0, null).IsDuplicate);
    }

    [Fact]
    public void A_marker_makes_a_question_void()
    {
        var asked = _storage.Log.BeginVerification(7, 0, 0, isEpochBumped: false);
        Assert.True(Mark(ControlRecordType.Abort).IsSuccess);
        Assert.Equal(AppendError.InvalidTransactionState, Append(0, asked).Error);
        Assert.Null(_storage.Log.FirstUnstableOffset);
    }

    [Fact]
    public void The_marker_of_the_transaction_before_leaves_the_question_of_the_next_one_alone()
    {
        Append(0, _storage.Log.BeginVerification(7, 0, 0, isEpochBumped: true));
        // The client has epoch 1 since its EndTxn was answered, and goes on before the marker is written.
        var next = _storage.Log.BeginVerification(7, 1, 0, isEpochBumped: true);
        Assert.True(Mark(ControlRecordType.Commit, epoch: 1, isEpochBumped: true).IsSuccess);
        Assert.True(Append(0, next, epoch: 1).IsSuccess);
        // But the one that ends this transaction does not.
        var late = _storage.Log.BeginVerification(8, 1, 0, isEpochBumped: true);
        _storage.Log.AppendAsLeader(
            new ReadOnlySequence<byte>(TestStorage.Marker(8, ControlRecordType.Abort, 3, 2)),
            0,
            AppendOptions.Coordinator with { IsEpochBumped = true });
        Assert.Equal(AppendError.InvalidTransactionState, Append(0, late, epoch: 1, id: 8).Error);
    }

    [Fact]
    public void A_newer_epoch_makes_the_question_of_an_older_one_void()
    {
        var asked = _storage.Log.BeginVerification(7, 0, 0, isEpochBumped: true);
        var newer = _storage.Log.BeginVerification(7, 1, 0, isEpochBumped: true);
        Assert.Equal(AppendError.InvalidTransactionState, Append(0, asked).Error);
        Assert.True(Append(0, newer, epoch: 1).IsSuccess);
        Assert.Equal(AppendError.InvalidTransactionState, Append(0, asked).Error);
    }

    [Fact]
    public void Requests_that_ask_together_share_a_question_and_the_lowest_sequence_comes_first()
    {
        var second = _storage.Log.BeginVerification(7, 0, 1, isEpochBumped: false);
        var first = _storage.Log.BeginVerification(7, 0, 0, isEpochBumped: false);
        Assert.Same(first, second);
        Assert.Equal(AppendError.OutOfOrderSequenceNumber, Append(1, second).Error);
        Assert.True(Append(0, first).IsSuccess);
        Assert.True(Append(1, second).IsSuccess);
    }

    [Fact]
    public void With_the_newer_protocol_an_unknown_producer_starts_with_sequence_0()
    {
        var asked = _storage.Log.BeginVerification(7, 0, 5, isEpochBumped: true);
        Assert.Equal(AppendError.OutOfOrderSequenceNumber, Append(5, asked).Error);
        asked = _storage.Log.BeginVerification(8, 0, 5, isEpochBumped: false);
        Assert.True(Append(5, asked, id: 8).IsSuccess);
    }

    [Fact]
    public void A_marker_of_an_earlier_coordinator_or_epoch_is_refused()
    {
        Append(0, _storage.Log.BeginVerification(7, 2, 0, isEpochBumped: false), epoch: 2);
        Assert.Equal(AppendError.InvalidProducerEpoch, Mark(ControlRecordType.Commit, epoch: 1).Error);
        Assert.True(Mark(ControlRecordType.Commit, epoch: 2, coordinatorEpoch: 4).IsSuccess);
        Assert.Equal(
            AppendError.TransactionCoordinatorFenced, Mark(ControlRecordType.Abort, 3, coordinatorEpoch: 3).Error);
        Assert.True(Mark(ControlRecordType.Commit, epoch: 2, coordinatorEpoch: 4).IsSuccess);
    }

    [Fact]
    public void With_the_newer_protocol_a_marker_is_above_the_records_that_it_ends()
    {
        Append(0, _storage.Log.BeginVerification(7, 2, 0, isEpochBumped: true), epoch: 2);
        Assert.Equal(AppendError.InvalidProducerEpoch, Mark(ControlRecordType.Commit, 2, isEpochBumped: true).Error);
        Assert.NotNull(_storage.Log.FirstUnstableOffset);
        Assert.True(Mark(ControlRecordType.Commit, 3, isEpochBumped: true).IsSuccess);
        Assert.Null(_storage.Log.FirstUnstableOffset);
        // Written again after a crash of the coordinator.
        Assert.True(Mark(ControlRecordType.Commit, 3, isEpochBumped: true).IsSuccess);
        // A batch of the transaction that comes late is refused by its epoch.
        Assert.Equal(AppendError.InvalidProducerEpoch, AppendPlain(1, epoch: 2).Error);
    }

    private AppendResult Append(int sequence, TransactionVerification? asked, short epoch = 0, long id = 7) =>
        _storage.Log.AppendAsLeader(
            new ReadOnlySequence<byte>(TestStorage.ProducerBatch(id, epoch, sequence, 1, transactional: true)),
            0,
            AppendOptions.Client with { RequiresVerification = true, Verification = asked });

    private AppendResult AppendPlain(int sequence, short epoch) =>
        _storage.Append(TestStorage.ProducerBatch(7, epoch, sequence, 1, transactional: true));

    private AppendResult Mark(
        ControlRecordType type, short epoch = 0, int coordinatorEpoch = 3, bool isEpochBumped = false) =>
        _storage.Log.AppendAsLeader(
            new ReadOnlySequence<byte>(TestStorage.Marker(7, type, coordinatorEpoch, epoch)),
            0,
            AppendOptions.Coordinator with { IsEpochBumped = isEpochBumped });
}

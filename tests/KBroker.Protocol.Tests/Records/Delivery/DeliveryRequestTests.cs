using System.Text;
using KBroker.Protocol.Records;
using KBroker.Protocol.Records.Delivery;

namespace KBroker.Protocol.Tests.Records.Delivery;

public sealed class DeliveryRequestTests
{
    private static readonly long[] Levels = [1_000, 5_000, 10_000];

    [Theory]
    [InlineData("kbroker-delay-level", "0", false, 100)]
    [InlineData("kbroker-delay-level", "1", true, 1_100)]
    [InlineData("kbroker-delay-level", "3", true, 10_100)]
    [InlineData("kbroker-delay-level", "4", true, 10_100)]
    [InlineData("kbroker-delay-level", "99999999999", true, 10_100)]
    [InlineData("kbroker-delay-ms", "0", false, 100)]
    [InlineData("kbroker-delay-ms", "250", true, 350)]
    [InlineData("kbroker-delay-ms", "9223372036854775807", true, long.MaxValue)]
    [InlineData("kbroker-deliver-at", "99", false, 99)]
    [InlineData("kbroker-deliver-at", "100", false, 100)]
    [InlineData("kbroker-deliver-at", "101", true, 101)]
    [InlineData("kbroker-deliver-at", "-5", false, -5)]
    public void A_delay_counts_from_the_timestamp(string header, string value, bool hides, long due)
    {
        var request = Parse((header, value));
        Assert.Null(request.Problem);
        Assert.Equal(hides, request.Hides(100));
        Assert.Equal(due, request.DueMs(100, Levels));
    }

    [Theory]
    [InlineData("kbroker-delay-level", "-1")]
    [InlineData("kbroker-delay-level", "")]
    [InlineData("kbroker-delay-level", "two")]
    [InlineData("kbroker-delay-level", "1 ")]
    [InlineData("kbroker-delay-level", "+1")]
    [InlineData("kbroker-delay-ms", "1.5")]
    [InlineData("kbroker-delay-ms", "9223372036854775808")]
    [InlineData("kbroker-delay-ms", null)]
    [InlineData("kbroker-deliver-at", "2030-01-31")]
    [InlineData("kbroker-cancel", "-1")]
    [InlineData("kbroker-txn", "Prepare")]
    [InlineData("kbroker-txn", null)]
    [InlineData("kbroker-producer-group", "a/b")]
    [InlineData("kbroker-producer-group", "")]
    [InlineData("kbroker-check-after-ms", "soon")]
    public void What_cannot_be_read_names_header_and_value(string header, string? value)
    {
        var request = Parse((header, value));
        Assert.Equal(DeliveryRequestKind.Invalid, request.Kind);
        Assert.Contains(header, request.Problem, StringComparison.Ordinal);
        Assert.Contains(value is null ? "null" : $"'{value}'", request.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_half_message_may_have_a_delay_and_a_first_check()
    {
        var request = Parse(
            ("kbroker-txn", "prepare"), ("kbroker-producer-group", "pay"), ("kbroker-delay-ms", "7"),
            ("kbroker-check-after-ms", "3"));
        Assert.Null(request.Problem);
        Assert.Equal(
            (HalfRequest.Prepare, DeliveryRequestKind.After, 3L), (request.Half, request.Kind, request.CheckAfterMs));
        Assert.True(request.Hides(100));
        Assert.Equal(107, request.DueMs(100, Levels));
    }

    [Theory]
    [InlineData("commit", HalfRequest.Commit)]
    [InlineData("rollback", HalfRequest.Rollback)]
    public void A_decision_names_its_half_message(string text, HalfRequest half)
    {
        var request = Parse(("kbroker-ref", "12"), ("kbroker-txn", text));
        Assert.Null(request.Problem);
        Assert.Equal((half, 12L), (request.Half, request.Reference));
        Assert.True(request.Hides(100));
    }

    [Theory]
    [InlineData("prepare", null, null, "needs kbroker-producer-group")]
    [InlineData("commit", null, null, "needs kbroker-ref")]
    [InlineData("commit", "kbroker-ref", "-1", "needs kbroker-ref")]
    [InlineData("rollback", "kbroker-delay-ms", "1", "goes with the half message")]
    [InlineData("commit", "kbroker-check-after-ms", "1", "is for half messages")]
    [InlineData("prepare", "kbroker-cancel", "1", "exclude each other")]
    [InlineData("prepare", "kbroker-txn", "prepare", "given twice")]
    public void Headers_that_do_not_go_together_are_refused(
        string transaction, string? header, string? value, string problem)
    {
        var request = header is null
            ? Parse(("kbroker-txn", transaction))
            : Parse(("kbroker-txn", transaction), (header, value));
        Assert.Equal(DeliveryRequestKind.Invalid, request.Kind);
        Assert.Contains(problem, request.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void Headers_of_others_mean_nothing_without_a_transaction()
    {
        var request = Parse(("kbroker-ref", "orders/0/7"), ("kbroker-producer-group", "pay"));
        Assert.Equal((DeliveryRequestKind.None, HalfRequest.None), (request.Kind, request.Half));
        Assert.Null(request.Problem);
        Assert.False(request.Hides(100));
    }

    [Fact]
    public void Bytes_that_are_no_text_are_shown_as_question_marks()
    {
        var headers = RecordHeaders.Create(new RecordHeader("kbroker-delay-ms", new byte[] { 1, 0xff, (byte)'7' }));
        Assert.Contains("'??7'", DeliveryRequest.Parse(headers.Encoded.Span, headers.Count).Problem,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Two_requests_exclude_each_other_and_one_comes_once()
    {
        Assert.Contains("exclude", Parse(("kbroker-delay-ms", "5"), ("kbroker-deliver-at", "9")).Problem,
            StringComparison.Ordinal);
        Assert.Contains("exclude", Parse(("kbroker-cancel", "5"), ("kbroker-delay-level", "1")).Problem,
            StringComparison.Ordinal);
        Assert.Contains("twice", Parse(("kbroker-delay-ms", "5"), ("kbroker-delay-ms", "5")).Problem,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Other_headers_ask_for_nothing()
    {
        var request = Parse(("trace", "kbroker-delay-ms"), ("kbroker", "1"), ("kbroker-tag", "vip"), ("", "x"));
        Assert.Equal(DeliveryRequestKind.None, request.Kind);
        Assert.False(request.Hides(0));
        Assert.False(request.HasBrokerHeaders);
    }

    [Fact]
    public void Headers_of_the_broker_are_known()
    {
        var request = Parse(("kbroker-origin-offset", "42"), ("kbroker-deliver-at", "7"));
        Assert.True(request.HasBrokerHeaders);
        Assert.Equal((42, 7), (request.OriginOffset, request.Value));
        Assert.Equal(-1, Parse(("kbroker-attempt", "1")).OriginOffset);
    }

    [Fact]
    public void A_walk_over_a_batch_counts_headers_that_may_ask_for_something()
    {
        using var builder = new RecordBatchBuilder(RecordBatchOptions.Default);
        builder.Append(1, null, null, Headers(("a", "b"), ("kbroker-x", "1")));
        builder.Append(1, null, null, Headers(("kbroker", "1"), ("kbroker-delay-ms", "1"), ("xkbroker-delay", "1")));
        var batch = new System.Buffers.ReadOnlySequence<byte>(builder.Build().ToArray());
        using var codecs = new CompressionCodecs();
        Assert.Equal(2, RecordBatchValidator.Validate(batch, codecs, 1 << 20).RequestHeadersCount);
    }

    private static DeliveryRequest Parse(params (string Key, string? Value)[] headers)
    {
        var encoded = Headers(headers);
        return DeliveryRequest.Parse(encoded.Encoded.Span, encoded.Count);
    }

    private static RecordHeaders Headers(params (string Key, string? Value)[] headers) => RecordHeaders.Create(
        [.. headers.Select(static h => h.Value is null
            ? new RecordHeader(h.Key, default(ReadOnlyMemory<byte>?))
            : new RecordHeader(h.Key, Encoding.UTF8.GetBytes(h.Value)))]);
}

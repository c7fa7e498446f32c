using System.Reflection;
using System.Runtime.InteropServices;
using Confluent.Kafka;
using KBroker.Compat.Harness;

namespace KBroker.Storm.Members;

/// <summary>What the .NET client does not show: the generation in which a consumer is.</summary>
internal static partial class Librdkafka
{
    private static readonly Lock Resolving = new();
    private static bool _resolved;

    /// <summary>
    /// Lets this assembly, and Confluent.Kafka when asked, find the native library; again does nothing.
    /// </summary>
    /// <param name="clientToo">False when somebody else has done it for Confluent.Kafka.</param>
    public static void Resolve(bool clientToo)
    {
        lock (Resolving)
        {
            if (_resolved)
                return;
            _resolved = true;
            if (CompatEnvironment.LibrdkafkaPath is not { } path)
                return;
            NativeLibrary.SetDllImportResolver(typeof(Librdkafka).Assembly, Find);
            if (clientToo)
                NativeLibrary.SetDllImportResolver(typeof(Library).Assembly, Find);

            nint Find(string name, Assembly assembly, DllImportSearchPath? search) =>
                name == "librdkafka" ? NativeLibrary.Load(path) : 0;
        }
    }

    /// <summary>The generation of the classic protocol, the member epoch of the other; -1 when in no group.</summary>
    public static int Generation<TKey, TValue>(IConsumer<TKey, TValue> consumer)
    {
        const BindingFlags Hidden = BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public;
        var handle = consumer.Handle;
        var native = (SafeHandle)handle.GetType().GetProperty("LibrdkafkaHandle", Hidden)!.GetValue(handle)!;
        var metadata = ConsumerGroupMetadata(native.DangerousGetHandle());
        if (metadata == 0)
            return -1;
        var generation = GenerationId(metadata);
        DestroyMetadata(metadata);
        return generation;
    }

    [LibraryImport("librdkafka", EntryPoint = "rd_kafka_consumer_group_metadata")]
    private static partial nint ConsumerGroupMetadata(nint client);

    [LibraryImport("librdkafka", EntryPoint = "rd_kafka_consumer_group_metadata_generation_id")]
    private static partial int GenerationId(nint metadata);

    [LibraryImport("librdkafka", EntryPoint = "rd_kafka_consumer_group_metadata_destroy")]
    private static partial void DestroyMetadata(nint metadata);
}

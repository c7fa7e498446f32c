namespace KBroker.Compat.Harness;

/// <summary>Where the things under test are on this machine, and which broker the tests are to run against.</summary>
public static class CompatEnvironment
{
    /// <summary>The folder that holds KBroker.sln, found upwards from the running test's folder.</summary>
    /// <exception cref="InvalidOperationException">The test does not run from inside the repository.</exception>
    public static string RepositoryRoot
    {
        get
        {
            for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
                if (File.Exists(Path.Combine(folder.FullName, "KBroker.sln")))
                    return folder.FullName;
            throw new InvalidOperationException($"KBroker.sln is in no parent of {AppContext.BaseDirectory}");
        }
    }

    /// <summary>True when <c>KBROKER_COMPAT_TARGET=kafka</c>: Apache Kafka is started instead of KBroker.</summary>
    public static bool TargetIsKafka =>
        string.Equals(Environment.GetEnvironmentVariable("KBROKER_COMPAT_TARGET"), "kafka", StringComparison.Ordinal);

    /// <summary>
    /// The unpacked Apache Kafka: <c>KAFKA_HOME</c>, else <c>../shared/peers/kafka</c> beside the repository; null when
    /// there is none.
    /// </summary>
    public static string? KafkaHome
    {
        get
        {
            var home = Environment.GetEnvironmentVariable("KAFKA_HOME");
            if (string.IsNullOrEmpty(home))
                home = Path.Combine(RepositoryRoot, "..", "shared", "peers", "kafka");
            return File.Exists(Path.Combine(home, "bin", "kafka-run-class.sh")) ? Path.GetFullPath(home) : null;
        }
    }

    /// <summary>The KBroker executable: <c>KBROKER_EXE</c>, else <c>artifacts/kbroker/kbroker</c>.</summary>
    public static string KBrokerExecutable =>
        Environment.GetEnvironmentVariable("KBROKER_EXE") is { Length: > 0 } path
            ? path
            : Path.Combine(RepositoryRoot, "artifacts", "kbroker", "kbroker");

    /// <summary>
    /// The native library that compat-tests/harness/librdkafka built or that <c>KBROKER_LIBRDKAFKA</c> names; null when
    /// there is neither, and the loader's own search (the librdkafka.redist package) decides.
    /// </summary>
    public static string? LibrdkafkaPath
    {
        get
        {
            if (Environment.GetEnvironmentVariable("KBROKER_LIBRDKAFKA") is { Length: > 0 } named)
                return named;
            var cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            if (string.IsNullOrEmpty(cache))
                cache = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
            var built = Path.Combine(cache, "kbroker", "librdkafka", "2.15.1", "librdkafka.so");
            return File.Exists(built) ? built : null;
        }
    }

    /// <summary>Why no broker of the chosen target can be started here, in one line; null when one can.</summary>
    public static string? WhyNoBroker =>
        TargetIsKafka
            ? KafkaHome is null ? "no Apache Kafka here (KAFKA_HOME)" : null
            : File.Exists(KBrokerExecutable) ? null : "no kbroker executable; ./run --build-only builds it";
}

using KBroker.Cluster.Configuration;

namespace KBroker.Cluster.Tests.Configuration;

public sealed class ConfigCatalogTests
{
    private static readonly ConfigCatalog Catalog = ConfigCatalog.Default;

    [Fact]
    public void Every_config_has_documentation_that_is_a_sentence()
    {
        foreach (var definition in Enum.GetValues<ConfigScope>().SelectMany(scope => Catalog.All(scope).Values))
        {
            Assert.True(definition.Documentation.Length > 20, definition.Name);
            Assert.EndsWith(".", definition.Documentation);
            Assert.DoesNotContain("  ", definition.Documentation);
        }
    }

    [Fact]
    public void Every_default_is_allowed_by_its_own_rule()
    {
        foreach (var definition in Enum.GetValues<ConfigScope>().SelectMany(scope => Catalog.All(scope).Values))
        {
            if (definition.DefaultValue is { Length: > 0 } value)
            {
                Assert.Equal(value, definition.Normalize(value));
            }
        }
    }

    [Fact]
    public void Every_synonym_is_a_broker_config()
    {
        foreach (var definition in Enum.GetValues<ConfigScope>().SelectMany(scope => Catalog.All(scope).Values))
        {
            Assert.All(
                definition.Synonyms, s => Assert.True(Catalog.TryGet(ConfigScope.Broker, s.Name, out _), s.Name));
        }
    }

    [Fact]
    public void Names_types_defaults_and_importances_are_those_of_Kafka()
    {
        var table = FindKafkaTable();
        if (table is null)
        {
            Assert.Skip("there is no shared/protocol/configs.tsv beside this clone");
        }

        var rows = File.ReadLines(table).Skip(1).Select(line => line.Split('\t')).ToList();
        Assert.True(rows.Count > 400);
        foreach (var row in rows)
        {
            var scope = Enum.Parse<ConfigScope>(row[0], ignoreCase: true);
            Assert.True(Catalog.TryGet(scope, row[1], out var definition), $"{row[0]} config {row[1]} is missing");
            Assert.Equal(row[2], definition.Type.ToString().ToUpperInvariant());
            Assert.Equal(row[3] is "(null)" or "(required)" ? null : row[3], definition.DefaultValue);
            Assert.Equal(row[3] == "(required)", definition.IsRequired);
            Assert.Equal(row[5], definition.Importance.ToString().ToUpperInvariant());
            Assert.Equal(row[6] == "true", definition.IsInternal);
            if (scope == ConfigScope.Topic)
            {
                Assert.Equal(row.ElementAtOrDefault(8) ?? "", string.Join(',', definition.Synonyms.Select(Show)));
            }
        }

        var own = Catalog.All(ConfigScope.Broker).Values.Count(d => d.IsDynamicOnly || d.Name.StartsWith("kbroker."));
        Assert.Equal(rows.Count(row => row[0] == "broker"), Catalog.All(ConfigScope.Broker).Count - own);
    }

    [Theory]
    [InlineData("log.segment.bytes", ConfigUpdateMode.ClusterWide)]
    [InlineData("log.retention.hours", ConfigUpdateMode.ReadOnly)]
    [InlineData("listeners", ConfigUpdateMode.PerBroker)]
    [InlineData("num.partitions", ConfigUpdateMode.ReadOnly)]
    [InlineData("kbroker.flush.acks.all", ConfigUpdateMode.ClusterWide)]
    public void Update_modes_are_those_of_Kafka_4(string name, ConfigUpdateMode mode) =>
        Assert.Equal(mode, Catalog.Get(ConfigScope.Broker, name).UpdateMode);

    [Theory]
    [InlineData("num.partition", "num.partitions")]
    [InlineData("log.retention.mss", "log.retention.ms")]
    [InlineData("kbroker.flush.ack.all", "kbroker.flush.acks.all")]
    [InlineData("zookeeper.connect", null)]
    public void A_name_close_to_a_known_one_is_suggested(string unknown, string? expected) =>
        Assert.Equal(expected, Catalog.Suggest(ConfigScope.Broker, unknown));

    [Fact]
    public void A_listener_prefix_leads_to_the_config_behind_it()
    {
        Assert.True(Catalog.TryGetBroker("listener.name.internal.max.connections", out var plain));
        Assert.Equal("max.connections", plain.Name);
        Assert.True(Catalog.TryGetBroker("listener.name.internal.scram-sha-256.sasl.jaas.config", out var mechanism));
        Assert.Equal("sasl.jaas.config", mechanism.Name);
        Assert.False(Catalog.TryGetBroker("listener.name.internal.nothing", out _));
    }

    [Theory]
    [InlineData("cleanup.policy", "foo", "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete")]
    [InlineData("compression.gzip.level", "0", "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1")]
    [InlineData("compression.lz4.level", "18", "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17")]
    [InlineData("segment.bytes", "1", "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576")]
    [InlineData("segment.bytes", "99999999999", "Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT")]
    [InlineData("retention.ms", "", "Invalid value  for configuration retention.ms: Not a number of type LONG")]
    [InlineData("retention.ms", "1.5", "Invalid value 1.5 for configuration retention.ms: Not a number of type LONG")]
    [InlineData("min.cleanable.dirty.ratio", "1.1", "Invalid value 1.1 for configuration min.cleanable.dirty.ratio: Value must be no more than 1")]
    [InlineData("preallocate", "yes", "Invalid value yes for configuration preallocate: Expected value to be either true or false")]
    [InlineData("leader.replication.throttled.replicas", "1:2,3", "Invalid value [1:2, 3] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...")]
    public void A_refused_value_is_explained_in_the_words_of_Kafka(string name, string value, string message)
    {
        var definition = Catalog.Get(ConfigScope.Topic, name);
        Assert.Equal(message, Assert.Throws<ConfigException>(() => definition.Parse(value)).Message);
    }

    [Theory]
    [InlineData("cleanup.policy", "", "")]
    [InlineData("cleanup.policy", "compact,compact", "compact")]
    [InlineData("cleanup.policy", " delete , compact ", "delete,compact")]
    [InlineData("compression.gzip.level", "-1", "-1")]
    [InlineData("retention.ms", " 5 ", "5")]
    [InlineData("preallocate", "TRUE", "true")]
    [InlineData("min.cleanable.dirty.ratio", "1", "1.0")]
    [InlineData("min.cleanable.dirty.ratio", "0.0001", "1.0E-4")]
    [InlineData("leader.replication.throttled.replicas", "*", "*")]
    [InlineData("leader.replication.throttled.replicas", "0:1,1:2", "0:1,1:2")]
    public void A_value_is_shown_as_Kafka_shows_it(string name, string value, string shown) =>
        Assert.Equal(shown, Catalog.Get(ConfigScope.Topic, name).Normalize(value));

    [Theory]
    [InlineData("latest", true)]
    [InlineData("by_duration:PT1H", true)]
    [InlineData("by_duration:P1DT2H3M4.5S", true)]
    [InlineData("by_duration:xx", false)]
    [InlineData("by_duration:P", false)]
    [InlineData("by_duration:PT", false)]
    [InlineData("EARLIEST", false)]
    public void Offset_reset_takes_a_position_or_a_duration(string value, bool allowed)
    {
        var definition = Catalog.Get(ConfigScope.Group, "share.auto.offset.reset");
        var refused = Record.Exception(() => definition.Parse(value));
        Assert.Equal(allowed, refused is null);
    }

    [Fact]
    public void Numbers_on_the_wire_do_not_change()
    {
        Assert.Equal("Unknown=0 Boolean=1 String=2 Int=3 Short=4 Long=5 Double=6 List=7 Class=8 Password=9",
            string.Join(' ', Enum.GetValues<ConfigType>().Select(t => $"{t}={(int)t}")));
        Assert.Equal(
            "TopicConfig=1 DynamicBrokerConfig=2 DynamicDefaultBrokerConfig=3 StaticBrokerConfig=4 DefaultConfig=5 "
            + "DynamicBrokerLogger=6 ClientMetricsConfig=7 GroupConfig=8",
            string.Join(' ', Enum.GetValues<ConfigSource>().Select(s => $"{s}={(int)s}")));
    }

    [Theory]
    [InlineData("a | int | 1 | what | low")]
    [InlineData("a | number | 1 | | low")]
    [InlineData("a | int | 1 | | tiny")]
    [InlineData("a | int | 1 | | low | sometimes")]
    [InlineData("a | int | 1 | | low | from b:weeks")]
    [InlineData("a")]
    public void A_line_of_a_table_that_makes_no_sense_is_an_error(string line) =>
        Assert.Throws<FormatException>(() => ConfigTable.Parse(ConfigScope.Topic, line + "\n    Text.\n"));

    private static string Show(ConfigSynonym synonym) => synonym.Factor switch
    {
        60_000 => synonym.Name + ":minutes",
        3_600_000 => synonym.Name + ":hours",
        _ => synonym.Name,
    };

    private static string? FindKafkaTable()
    {
        for (var folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            var file = Path.Combine(folder, "shared", "protocol", "configs.tsv");
            if (File.Exists(file))
            {
                return file;
            }
        }

        return null;
    }
}

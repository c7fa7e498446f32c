namespace KBroker.Server.Security;

/// <summary>How a listener authenticates and protects its connections; names and numbers are Kafka's.</summary>
public enum SecurityProtocol
{
    /// <summary>Neither authentication nor encryption.</summary>
    Plaintext = 0,

    /// <summary>TLS.</summary>
    Ssl = 1,

    /// <summary>SASL over plain TCP.</summary>
    SaslPlaintext = 2,

    /// <summary>SASL over TLS.</summary>
    SaslSsl = 3,
}

/// <summary>Names of <see cref="SecurityProtocol"/> as configurations and clients write them.</summary>
public static class SecurityProtocols
{
    /// <summary>All names, for error messages.</summary>
    public const string AllNames = "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL";

    /// <summary>The configuration name of a protocol.</summary>
    /// <param name="protocol">The protocol.</param>
    /// <returns>For example <c>SASL_SSL</c>.</returns>
    public static string Name(this SecurityProtocol protocol) => protocol switch
    {
        SecurityProtocol.Plaintext => "PLAINTEXT",
        SecurityProtocol.Ssl => "SSL",
        SecurityProtocol.SaslPlaintext => "SASL_PLAINTEXT",
        SecurityProtocol.SaslSsl => "SASL_SSL",
        _ => throw new ArgumentOutOfRangeException(nameof(protocol), protocol, null),
    };

    /// <summary>Parses a configuration name; case does not matter.</summary>
    /// <param name="name">For example <c>PLAINTEXT</c>.</param>
    /// <param name="protocol">The protocol.</param>
    /// <returns>False for an unknown name.</returns>
    public static bool TryParse(string name, out SecurityProtocol protocol)
    {
        foreach (var candidate in Enum.GetValues<SecurityProtocol>())
        {
            if (!string.Equals(candidate.Name(), name, StringComparison.OrdinalIgnoreCase))
                continue;
            protocol = candidate;
            return true;
        }
        protocol = default;
        return false;
    }
}

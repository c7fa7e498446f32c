using System.Collections.Immutable;
using KBroker.Cluster.Metadata;
using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;

namespace KBroker.Server.Handlers;

/// <summary>
/// ApiVersions: what this listener serves, and the feature levels of the cluster (KIP-584).
/// </summary>
/// <remarks>
/// A version that is not served is answered by the dispatcher. From version 3 on the client names its software, in
/// letters, digits, '.' and '-' (KIP-511); anything else is INVALID_REQUEST. A feature whose lowest level is 0 is told
/// from version 4 on only: older clients refuse that level. The level of <c>kraft.version</c> is the quorum's, which
/// keeps it outside the records of the features.
/// </remarks>
/// <param name="metadata">The metadata, for the finalized features.</param>
/// <param name="supported">The feature levels this node can work with.</param>
public sealed class ApiVersionsHandler(
    IMetadataLog metadata, ImmutableSortedDictionary<string, FeatureRange> supported)
    : RequestHandler<ApiVersionsRequest, ApiVersionsResponse>
{
    /// <inheritdoc/>
    public override ApiKey ApiKey => ApiKey.ApiVersions;

    /// <inheritdoc/>
    protected override ValueTask<IResponseMessage?> HandleAsync(ApiVersionsRequest request, RequestContext context)
    {
        var response = new ApiVersionsResponse();
        if (context.ApiVersion >= 3)
        {
            if (!IsName(request.ClientSoftwareName) || !IsName(request.ClientSoftwareVersion))
            {
                response.ErrorCode = ErrorCode.InvalidRequest;
                return ValueTask.FromResult<IResponseMessage?>(response);
            }

            context.Session.ClientSoftwareName = request.ClientSoftwareName;
            context.Session.ClientSoftwareVersion = request.ClientSoftwareVersion;
        }

        foreach (var api in context.ServedApis)
        {
            response.ApiKeys.Add(new ApiVersionsResponse.ApiVersion
            {
                ApiKey = (short)api.Key,
                MinVersion = api.MinVersion,
                MaxVersion = api.MaxVersion,
            });
        }

        AddFeatures(response, metadata.Image, context.ApiVersion);
        if (metadata.DescribeQuorum().KRaftVersion is > 0 and var level)
            AddFinalized(response, SupportedFeatures.KRaftVersion, level);
        return ValueTask.FromResult<IResponseMessage?>(response);
    }

    private void AddFeatures(ApiVersionsResponse response, MetadataImage image, short version)
    {
        foreach (var (name, range) in supported)
        {
            if (range.Min == 0 && version < 4)
                continue;
            response.SupportedFeatures.Add(new ApiVersionsResponse.SupportedFeatureKey
            {
                Name = name,
                MinVersion = range.Min,
                MaxVersion = range.Max,
            });
        }

        response.FinalizedFeaturesEpoch = image.FeaturesEpoch;
        foreach (var (name, level) in image.Features.Levels)
            AddFinalized(response, name, level);
    }

    private static void AddFinalized(ApiVersionsResponse response, string name, short level) =>
        response.FinalizedFeatures.Add(new ApiVersionsResponse.FinalizedFeatureKey
        {
            Name = name,
            MinVersionLevel = level,
            MaxVersionLevel = level,
        });

    private static bool IsName(string text)
    {
        if (text.Length == 0 || !char.IsAsciiLetterOrDigit(text[0]) || !char.IsAsciiLetterOrDigit(text[^1]))
            return false;
        foreach (var c in text)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('.' or '-'))
                return false;
        }

        return true;
    }
}

using Microsoft.Extensions.Logging;

namespace KBroker.Cluster.Metadata;

/// <summary>Holds the committed image and tells the subscribers of each new one, in order.</summary>
internal sealed class MetadataPublisher(MetadataImage image, ILogger logger)
{
    private readonly Lock _lock = new();
    private readonly List<IMetadataSubscriber> _subscribers = [];
    private MetadataImage _image = image;

    public MetadataImage Image => Volatile.Read(ref _image);

    public void Subscribe(IMetadataSubscriber subscriber)
    {
        lock (_lock)
        {
            _subscribers.Add(subscriber);
            Tell(subscriber, new MetadataUpdate(MetadataImage.Empty, _image, null));
        }
    }

    public void Publish(MetadataUpdate update)
    {
        lock (_lock)
        {
            Volatile.Write(ref _image, update.Current);
            foreach (var subscriber in _subscribers)
                Tell(subscriber, update);
        }
    }

    private void Tell(IMetadataSubscriber subscriber, MetadataUpdate update)
    {
        try
        {
            subscriber.OnMetadata(update);
        }
        catch (Exception e)
        {
            logger.LogError(
                e, "{Subscriber} failed on the metadata of offset {Offset}.", subscriber.GetType().Name,
                update.Current.Provenance.LastContainedOffset);
        }
    }
}

using System.Buffers;
using System.Runtime.InteropServices;

namespace KBroker.Timing;

/// <summary>
/// The watch lists of some of a purgatory's keys, under one lock that is never held while foreign code runs. A list
/// is circular and goes through its nodes alone: the dictionary refers to the first one, and has no entry for a key
/// that nothing watches. So a key comes and goes without an allocation.
/// </summary>
internal sealed class WatchShard<TKey>
    where TKey : notnull
{
    private readonly Lock _lock = new();
    private readonly Dictionary<TKey, Node> _lists = [];
    private int _count;

    /// <summary>The number of nodes in all lists.</summary>
    internal int Count => Volatile.Read(ref _count);

    /// <summary>Appends a node for <paramref name="operation"/> to the list of <paramref name="key"/>.</summary>
    internal WatchNode Add(TKey key, DelayedOperation operation)
    {
        var node = new Node(this, key, operation);
        lock (_lock)
        {
            ref var head = ref CollectionsMarshal.GetValueRefOrAddDefault(_lists, key, out var exists);
            if (exists)
            {
                var last = head!.Previous!;
                node.Previous = last;
                node.Next = head;
                last.Next = node;
                head.Previous = node;
            }
            else
            {
                node.Previous = node;
                node.Next = node;
                head = node;
            }

            _count++;
        }

        return node;
    }

    /// <summary>
    /// Copies the operations that watch <paramref name="key"/>, oldest first, and returns their number. A single one
    /// comes in <paramref name="single"/>; several come in <paramref name="rented"/>, which the caller gives back
    /// to the shared pool, cleared.
    /// </summary>
    internal int Snapshot(TKey key, out DelayedOperation? single, out DelayedOperation[]? rented)
    {
        single = null;
        rented = null;
        lock (_lock)
        {
            if (_count == 0 || !_lists.TryGetValue(key, out var head))
                return 0;
            if (head.Next == head)
            {
                single = head.Operation;
                return 1;
            }

            return CopyList(head, out rented);
        }
    }

    /// <summary>Copies all operations, each as often as it watches, into <paramref name="into"/>.</summary>
    internal void CopyAll(List<DelayedOperation> into)
    {
        lock (_lock)
        {
            foreach (var head in _lists.Values)
            {
                var node = head;
                do
                {
                    into.Add(node.Operation);
                    node = node.Next!;
                }
                while (node != head);
            }
        }
    }

    private static int CopyList(Node head, out DelayedOperation[] rented)
    {
        var pool = ArrayPool<DelayedOperation>.Shared;
        rented = pool.Rent(16);
        var count = 0;
        var node = head;
        do
        {
            if (count == rented.Length)
            {
                var larger = pool.Rent(count * 2);
                Array.Copy(rented, larger, count);
                pool.Return(rented, clearArray: true);
                rented = larger;
            }

            rented[count++] = node.Operation;
            node = node.Next!;
        }
        while (node != head);
        return count;
    }

    private void Remove(Node node)
    {
        lock (_lock)
        {
            if (node.Next == null)
                return;
            if (node.Next == node)
            {
                _lists.Remove(node.Key);
            }
            else
            {
                ref var head = ref CollectionsMarshal.GetValueRefOrNullRef(_lists, node.Key);
                if (head == node)
                    head = node.Next;
                node.Previous!.Next = node.Next;
                node.Next.Previous = node.Previous;
            }

            node.Next = null;
            node.Previous = null;
            _count--;
        }
    }

    private sealed class Node(WatchShard<TKey> shard, TKey key, DelayedOperation operation) : WatchNode
    {
        internal TKey Key { get; } = key;

        internal DelayedOperation Operation { get; } = operation;

        internal Node? Next { get; set; }

        internal Node? Previous { get; set; }

        internal override void Unlink() => shard.Remove(this);
    }
}

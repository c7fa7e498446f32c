using KBroker.Protocol;
using KBroker.Protocol.Messages;
using KBroker.Server.Dispatch;

namespace KBroker.Server.Net;

/// <summary>
/// Writes an answer as a frame: int32 size, int32 correlation id, from header version 1 an empty section of tagged
/// fields, then the body.
/// </summary>
internal static class ResponseFrame
{
    public static void Write(ProtocolWriter writer, RequestContext context, IResponseMessage response)
    {
        var start = writer.TotalBytes;
        var size = writer.Reserve();
        writer.WriteInt32(context.CorrelationId);
        if (context.ResponseHeaderVersion >= 1)
            writer.WriteInt8(0);
        response.Write(writer, context.ResponseVersion);
        ProtocolWriter.PatchInt32(size, checked((int)(writer.TotalBytes - start - sizeof(int))));
    }
}

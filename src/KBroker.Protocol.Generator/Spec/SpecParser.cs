using System.Collections.Generic;

namespace KBroker.Protocol.Generator.Spec;

/// <summary>
/// Reads one <c>.kspec</c> file. The grammar is in protocol-spec/README.md; in short: a head line at the left margin
/// (<c>api</c>, <c>header</c>, <c>data</c>, <c>key</c>, <c>value</c>, <c>record</c>, <c>domain</c>), fields below it,
/// two spaces for each level, <c>#</c> lines as documentation of the line that follows them.
/// </summary>
internal sealed class SpecParser
{
    private readonly SpecFile _file;
    private readonly List<SpecLine> _lines = new();
    private int _next;

    private SpecParser(SpecFile file) => _file = file;

    /// <summary>Parses and resolves a file. Errors are in the result; what could be read is there too.</summary>
    public static SpecFile Parse(string path, string text)
    {
        var file = new SpecFile(path, text);
        var parser = new SpecParser(file);
        parser.SplitLines(text);
        parser.ParseFile();
        SpecResolver.Resolve(file);
        return file;
    }

    private void SplitLines(string text)
    {
        string[] raw = text.Split('\n');
        var doc = new List<string>();
        for (int i = 0; i < raw.Length; i++)
        {
            string line = raw[i].TrimEnd('\r', ' ');
            string content = line.TrimStart(' ', '\t');
            if (content.Length == 0)
            {
                doc.Clear();
                continue;
            }

            if (content[0] == '#')
            {
                doc.Add(content.TrimStart('#').Trim());
                continue;
            }

            int indent = line.Length - content.Length;
            var at = new SpecPosition(i, 0, indent);
            if (line.IndexOf('\t', 0, indent) >= 0)
                _file.Error(SpecErrors.Indentation, at, "Indent with spaces, not with tabs.");
            else if (indent % 2 != 0)
                _file.Error(SpecErrors.Indentation, at, "Indent by two spaces for each level.");
            else
                _lines.Add(new SpecLine(i, indent / 2, line, string.Join(" ", doc)));
            doc.Clear();
        }
    }

    private void ParseFile()
    {
        while (_next < _lines.Count)
        {
            SpecLine line = _lines[_next++];
            if (line.Level > 0)
            {
                ErrorAtIndent(line, "This line is not inside anything.");
                SkipBody(0);
                continue;
            }

            var scanner = line.Scanner();
            string keyword = scanner.TakeWord();
            switch (keyword)
            {
                case "api":
                    ParseApi(line, scanner);
                    break;
                case "domain":
                    ParseDomain(line, scanner);
                    break;
                case "header":
                case "data":
                case "key":
                case "value":
                case "record":
                    ParseMessage(line, scanner, KindOf(keyword));
                    break;
                default:
                    _file.Error(SpecErrors.Syntax, scanner.Last,
                        "Expected api, header, data, key, value, record or domain, not '" + keyword + "'.");
                    SkipBody(0);
                    break;
            }
        }
    }

    private static MessageKind KindOf(string keyword) => keyword switch
    {
        "header" => MessageKind.Header,
        "data" => MessageKind.Data,
        "key" => MessageKind.Key,
        "value" => MessageKind.Value,
        _ => MessageKind.Record,
    };

    private void ParseApi(SpecLine line, LineScanner scanner)
    {
        var api = new ApiSpec { Doc = line.Doc };
        if (!HeadParser.TryApi(_file, scanner, api)) { SkipBody(0); SkipBlocks(); return; }
        _file.Apis.Add(api);
        while (_next < _lines.Count && _lines[_next].Level == 0)
        {
            SpecLine block = _lines[_next];
            var blockScanner = block.Scanner();
            string word = blockScanner.TakeWord();
            if (word != "request" && word != "response") break;
            _next++;
            bool isRequest = word == "request";
            var message = new MessageSpec
            {
                Kind = isRequest ? MessageKind.Request : MessageKind.Response,
                Name = api.Name + (isRequest ? "Request" : "Response"),
                Api = api,
                Number = api.Key,
                Versions = api.Versions,
                Flexible = api.Flexible,
                Doc = block.Doc,
                Position = blockScanner.Last,
            };
            if (!blockScanner.AtEnd)
                _file.Error(SpecErrors.Syntax, blockScanner.Rest(), "Nothing may follow '" + word + "'.");
            if ((isRequest ? api.Request : api.Response) is not null)
                _file.Error(SpecErrors.Duplicate, message.Position, api.Name + " already has a " + word + ".");
            else if (isRequest) api.Request = message;
            else api.Response = message;
            _file.Messages.Add(message);
            ParseBody(message);
        }

        if (!api.IsRemoved && (api.Request is null || api.Response is null))
            _file.Error(SpecErrors.Structure, api.Position, api.Name + " needs a request and a response.");
        if (_next < _lines.Count && _lines[_next].Level > 0)
        {
            ErrorAtIndent(_lines[_next], "Expected request or response at the left margin.");
            SkipBody(0);
        }
    }

    private void SkipBlocks()
    {
        while (_next < _lines.Count && _lines[_next].Level == 0)
        {
            if (_lines[_next].Scanner().TakeWord() is not ("request" or "response")) return;
            _next++;
            SkipBody(0);
        }
    }

    private void ParseMessage(SpecLine line, LineScanner scanner, MessageKind kind)
    {
        var message = new MessageSpec { Kind = kind, Doc = line.Doc };
        if (!HeadParser.TryMessage(_file, scanner, message)) { SkipBody(0); return; }
        _file.Messages.Add(message);
        ParseBody(message);
    }

    private void ParseDomain(SpecLine line, LineScanner scanner)
    {
        DomainSpec? domain = HeadParser.Domain(_file, scanner, line.Doc);
        if (domain is not null) _file.Domains.Add(domain);
        SkipBody(0);
    }

    private void ParseBody(MessageSpec message)
    {
        message.Root = new StructSpec { Name = message.Name, Position = message.Position, Doc = message.Doc };
        ParseFields(message, message.Root, 1);
    }

    private void ParseFields(MessageSpec message, StructSpec owner, int level)
    {
        while (_next < _lines.Count && _lines[_next].Level >= level)
        {
            SpecLine line = _lines[_next++];
            if (line.Level > level)
            {
                ErrorAtIndent(line, "This line is indented deeper than the line above allows.");
                SkipBody(level - 1);
                return;
            }

            var scanner = line.Scanner();
            if (level == 1 && scanner.PeekWord() == "struct")
            {
                StructSpec? shared = FieldParser.SharedStruct(_file, scanner, line.Doc);
                if (shared is null) { SkipBody(level); continue; }
                message.Structs.Add(shared);
                ParseFields(message, shared, level + 1);
                continue;
            }

            FieldSpec? field = FieldParser.Parse(_file, scanner, line.Doc);
            if (field is null) { SkipBody(level); continue; }
            owner.Fields.Add(field);
            if (_next >= _lines.Count || _lines[_next].Level <= level) continue;
            if (FieldTypes.IsPrimitive(field.TypeName))
            {
                ErrorAtIndent(_lines[_next], "A field of type " + field.TypeName + " has no fields of its own.");
                SkipBody(level);
                continue;
            }

            field.Inline = new StructSpec { Name = field.TypeName, Position = field.TypePosition, Doc = field.Doc };
            message.Structs.Add(field.Inline);
            ParseFields(message, field.Inline, level + 1);
        }
    }

    private void SkipBody(int level)
    {
        while (_next < _lines.Count && _lines[_next].Level > level) _next++;
    }

    private void ErrorAtIndent(SpecLine line, string text) =>
        _file.Error(SpecErrors.Indentation, new SpecPosition(line.Number, line.Level * 2, 1), text);

    private sealed record SpecLine(int Number, int Level, string Text, string Doc)
    {
        public LineScanner Scanner() => new(Text, Number, Level * 2);
    }
}

using System;
using System.Collections.Generic;

namespace KBroker.Protocol.Generator.Spec;

/// <summary>Where something stands in a spec: zero-based line and column, and how many characters it has.</summary>
internal readonly record struct SpecPosition(int Line, int Column, int Length);

/// <summary>What went wrong, and where. <see cref="Id"/> is one of <see cref="SpecErrors"/>.</summary>
internal sealed record SpecError(string Id, string Path, SpecPosition Position, string Message);

/// <summary>The kinds of messages a spec can describe.</summary>
internal enum MessageKind
{
    /// <summary>The request of an API.</summary>
    Request,

    /// <summary>The response of an API.</summary>
    Response,

    /// <summary>A request or response header.</summary>
    Header,

    /// <summary>A message outside requests and records, such as a consumer's subscription.</summary>
    Data,

    /// <summary>The key of a record of an internal topic.</summary>
    Key,

    /// <summary>The value of a record of an internal topic.</summary>
    Value,

    /// <summary>A record of the metadata log, or of another log framed like it.</summary>
    Record,
}

/// <summary>One parsed spec file. Two are equal when path and text are: everything else follows from those.</summary>
internal sealed class SpecFile : IEquatable<SpecFile>
{
    public SpecFile(string path, string text)
    {
        Path = path;
        Text = text;
    }

    public string Path { get; }

    public string Text { get; }

    public List<ApiSpec> Apis { get; } = new();

    public List<MessageSpec> Messages { get; } = new();

    public List<DomainSpec> Domains { get; } = new();

    public List<SpecError> Errors { get; } = new();

    public void Error(string id, SpecPosition position, string message) =>
        Errors.Add(new SpecError(id, Path, position, message));

    public bool Equals(SpecFile? other) => other is not null && Path == other.Path && Text == other.Text;

    public override bool Equals(object? obj) => Equals(obj as SpecFile);

    public override int GetHashCode() => Text.GetHashCode() ^ Path.GetHashCode();
}

/// <summary>A named meaning of a wire type, e.g. <c>TopicName</c> of string; with an enum if C# has one.</summary>
internal sealed record DomainSpec(
    string Name, string TypeName, string? EnumType, string Doc, SpecPosition Position, string Path);

/// <summary>An <c>api</c> head line.</summary>
internal sealed class ApiSpec
{
    public int Key { get; set; }

    public string Name { get; set; } = "";

    public SpecPosition Position { get; set; }

    public string Doc { get; set; } = "";

    /// <summary>True of an API number that once had versions and has none now.</summary>
    public bool IsRemoved { get; set; }

    public VersionRange Versions { get; set; } = VersionRange.None;

    public VersionRange Flexible { get; set; } = VersionRange.None;

    public bool LatestIsUnstable { get; set; }

    /// <summary>The lowest version to advertise; below <see cref="Versions"/> only where old clients need it.</summary>
    public int AdvertisedLowest { get; set; } = -1;

    /// <summary>A response header version used whatever the version, or -1.</summary>
    public int ResponseHeader { get; set; } = -1;

    public bool OnBroker { get; set; }

    public bool OnController { get; set; }

    public bool IsClusterAction { get; set; }

    public bool IsForwardable { get; set; }

    /// <summary>True of an API of KBroker's own, which is served but not announced.</summary>
    public bool IsPrivate { get; set; }

    public MessageSpec? Request { get; set; }

    public MessageSpec? Response { get; set; }
}

/// <summary>A message: one generated class.</summary>
internal sealed class MessageSpec
{
    public MessageKind Kind { get; set; }

    public string Name { get; set; } = "";

    public SpecPosition Position { get; set; }

    public string Doc { get; set; } = "";

    /// <summary>The API key, or the record type of a key, value or record; -1 without one.</summary>
    public int Number { get; set; } = -1;

    /// <summary>The API this message belongs to, for requests and responses.</summary>
    public ApiSpec? Api { get; set; }

    /// <summary>Which log a key, value or record belongs to.</summary>
    public string Catalog { get; set; } = "";

    public VersionRange Versions { get; set; } = VersionRange.None;

    public VersionRange Flexible { get; set; } = VersionRange.None;

    /// <summary>The fields of the message itself.</summary>
    public StructSpec Root { get; set; } = new();

    /// <summary>All structs, declared by <c>struct</c> or in line, in order of appearance; without the root.</summary>
    public List<StructSpec> Structs { get; } = new();

    public bool IsFlexible(int version) => Flexible.Contains(version);
}

/// <summary>The fields of a message or of a struct in it.</summary>
internal sealed class StructSpec
{
    public string Name { get; set; } = "";

    public SpecPosition Position { get; set; }

    public string Doc { get; set; } = "";

    /// <summary>The versions written with <c>@</c>, or null for those of the place it stands in.</summary>
    public VersionRange? Declared { get; set; }

    /// <summary>The versions in which the struct can occur.</summary>
    public VersionRange Versions { get; set; } = VersionRange.None;

    /// <summary>Whether it stands after the keyword <c>struct</c>, to be used by several fields.</summary>
    public bool IsShared { get; set; }

    public List<FieldSpec> Fields { get; } = new();
}

/// <summary>One field line.</summary>
internal sealed class FieldSpec
{
    public string Name { get; set; } = "";

    public SpecPosition Position { get; set; }

    public string Doc { get; set; } = "";

    /// <summary>A wire type, or the name of a struct; of the element when <see cref="IsArray"/>.</summary>
    public string TypeName { get; set; } = "";

    public SpecPosition TypePosition { get; set; }

    public bool IsArray { get; set; }

    /// <summary>The nullable versions as written, null when the type has no question mark.</summary>
    public VersionRange? DeclaredNullable { get; set; }

    public SpecPosition NullablePosition { get; set; }

    public string? Domain { get; set; }

    public SpecPosition DomainPosition { get; set; }

    /// <summary>The default as written, without quotes for a string; null when there is none.</summary>
    public string? Default { get; set; }

    public bool DefaultIsQuoted { get; set; }

    public SpecPosition DefaultPosition { get; set; }

    public VersionRange? Declared { get; set; }

    public SpecPosition VersionsPosition { get; set; }

    /// <summary>The tag number, or -1 of an ordinary field.</summary>
    public int Tag { get; set; } = -1;

    public SpecPosition TagPosition { get; set; }

    public bool IsMapKey { get; set; }

    public bool IsIgnorable { get; set; }

    public bool IsZeroCopy { get; set; }

    /// <summary>True of a string that keeps its old encoding in flexible versions too.</summary>
    public bool IsInflexible { get; set; }

    /// <summary>The struct defined by the indented lines below, or null.</summary>
    public StructSpec? Inline { get; set; }

    /// <summary>The struct this field's type names; null of wire types. Set by the resolver.</summary>
    public StructSpec? Struct { get; set; }

    /// <summary>The versions in which the field is on the wire. Set by the resolver.</summary>
    public VersionRange Versions { get; set; } = VersionRange.None;

    /// <summary>The versions in which it may be null. Set by the resolver.</summary>
    public VersionRange Nullable { get; set; } = VersionRange.None;

    public bool IsTagged => Tag >= 0;

    public bool IsNullable => !Nullable.IsEmpty;

    public bool DefaultIsNull => Default == "null" && !DefaultIsQuoted;
}

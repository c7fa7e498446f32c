using System;

namespace KBroker.Protocol.Generator.Spec;

/// <summary>Walks over one line and remembers the column of what it takes. Spaces do not count.</summary>
internal sealed class LineScanner
{
    private readonly string _text;
    private readonly int _line;
    private int _position;

    public LineScanner(string text, int line, int start)
    {
        _text = text;
        _line = line;
        _position = start;
    }

    /// <summary>Where the last token taken stands; after a failed take, where one was expected.</summary>
    public SpecPosition Last { get; private set; }

    public bool AtEnd
    {
        get
        {
            SkipSpaces();
            return _position >= _text.Length;
        }
    }

    public bool Take(char expected)
    {
        SkipSpaces();
        bool found = _position < _text.Length && _text[_position] == expected;
        Last = new SpecPosition(_line, _position, 1);
        if (found) _position++;
        return found;
    }

    /// <summary>Takes letters, digits, minus, plus and underscore; empty when there are none.</summary>
    public string TakeWord()
    {
        SkipSpaces();
        int start = _position;
        while (_position < _text.Length && IsWordCharacter(_text[_position])) _position++;
        Last = new SpecPosition(_line, start, Math.Max(1, _position - start));
        return _text.Substring(start, _position - start);
    }

    /// <summary>The word ahead, without taking it.</summary>
    public string PeekWord()
    {
        int before = _position;
        SpecPosition last = Last;
        string word = TakeWord();
        _position = before;
        Last = last;
        return word;
    }

    /// <summary>Takes a word that follows at once, without a space; empty when there is none.</summary>
    public string TakeAdjacentWord() =>
        _position < _text.Length && IsWordCharacter(_text[_position]) ? TakeWord() : "";

    /// <summary>Takes text in double quotes; null when no quote starts here or none ends it.</summary>
    public string? TakeQuoted()
    {
        SkipSpaces();
        Last = new SpecPosition(_line, _position, 1);
        if (_position >= _text.Length || _text[_position] != '"') return null;
        int end = _text.IndexOf('"', _position + 1);
        if (end < 0) return null;
        string value = _text.Substring(_position + 1, end - _position - 1);
        Last = new SpecPosition(_line, _position, end + 1 - _position);
        _position = end + 1;
        return value;
    }

    public bool NextIsQuote()
    {
        SkipSpaces();
        return _position < _text.Length && _text[_position] == '"';
    }

    /// <summary>The rest of the line, for an error about it.</summary>
    public SpecPosition Rest()
    {
        SkipSpaces();
        return new SpecPosition(_line, _position, Math.Max(1, _text.Length - _position));
    }

    private static bool IsWordCharacter(char c) =>
        c is >= 'a' and <= 'z' or >= 'A' and <= 'Z' or >= '0' and <= '9' or '-' or '+' or '_';

    private void SkipSpaces()
    {
        while (_position < _text.Length && _text[_position] == ' ') _position++;
    }
}

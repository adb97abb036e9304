"""What a parser of tool calls makes of a text, given in pieces."""

from pagelet_engine.text.tools.parts import CallArguments, CallStart

NAMES = ["f", "get_weather"]


def parse(parser, pieces):
    """Return the text outside calls, and (name, arguments) of each call."""
    parts = [part for piece in pieces for part in parser.feed(piece)] + parser.finish()
    text = "".join(part for part in parts if isinstance(part, str))
    calls = [[part.name, ""] for part in parts if isinstance(part, CallStart)]
    for part in parts:
        if isinstance(part, CallArguments):
            calls[part.index][1] += part.text
    assert parser.num_calls == len(calls)
    return text, [tuple(call) for call in calls]


def cut(text, places):
    """Return `text` in pieces."""
    cuts = sorted(places)
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

"""The event-stream grammar, in any pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.sse import MAX_EVENT_BYTES, SseError, SseEvent, SseParser

ENDINGS = ["\n", "\r", "\r\n"]


def reference(text: str) -> list[SseEvent]:
    """The obviously right parser: the whole text at once, line by line as the standard says."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    events: list[SseEvent] = []
    name, data = "", []
    for line in lines[:-1]:  # what follows the last line end is no line
        if line == "":
            if data:
                events.append(SseEvent(name or "message", "\n".join(data).encode()))
            name, data = "", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value
    return events


def parse(data: bytes, cuts: list[int]) -> list[SseEvent]:
    parser = SseParser()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    return [event for piece in pieces for event in parser.feed(piece)]


lines = st.one_of(
    st.sampled_from(
        ["", "", "", "data", "data:", "data: ", "data:  two", ":", ": note", "event: e"]
    ),
    st.sampled_from(["id: 1", "retry: 10", "nonsense", "data : x", "event", "\ufeffdata: x"]),
    st.text(alphabet="ab: é€", max_size=8).map(lambda value: f"data:{value}"),
)
streams = st.lists(st.tuples(lines, st.sampled_from(ENDINGS)), max_size=30).map(
    lambda pairs: "".join(line + ending for line, ending in pairs)
)


@given(st.sampled_from(["", "\ufeff"]), streams, lines, st.lists(st.integers(0), max_size=20))
def test_any_stream_in_any_pieces_gives_the_events_of_the_whole(bom, text, tail, cuts):
    whole = bom + text + tail
    assert parse(whole.encode(), cuts) == reference(whole)


@given(streams)
def test_one_byte_at_a_time_changes_nothing(text):
    data = text.encode()
    assert parse(data, list(range(len(data)))) == reference(text)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_event_is_out_as_soon_as_its_last_line_end_has_begun(ending):
    parser = SseParser()
    assert parser.feed(f"data: 1{ending}{ending}".encode()[: len("data: 1") + len(ending) + 1])


def test_a_byte_order_mark_is_no_part_of_the_first_field():
    assert parse(b"\xef\xbb\xbfdata: a\n\n", [1, 2]) == [SseEvent("message", b"a")]


def test_several_data_lines_are_joined():
    assert parse(b"data: a\ndata: b\n\n", []) == [SseEvent("message", b"a\nb")]


def test_comments_and_unfinished_events_do_not_count():
    assert parse(b": keep-alive\n\ndata: a\n\n: x\n\ndata: b\n", []) == [SseEvent("message", b"a")]


def test_an_events_name_does_not_stick_to_the_next():
    text = b"event: error\ndata: 1\n\ndata: 2\n\nevent: lost\n\ndata: 3\n\n"
    assert [event.name for event in parse(text, [])] == ["error", "message", "message"]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 1000, b"data: " + b"x" * 1000 + b"\n"])
def test_an_event_without_end_is_refused_instead_of_filling_the_memory(piece):
    parser = SseParser()
    for _ in range(MAX_EVENT_BYTES // len(piece) - 1):
        parser.feed(piece)
    with pytest.raises(SseError, match=str(MAX_EVENT_BYTES)):
        parser.feed(piece * 10)

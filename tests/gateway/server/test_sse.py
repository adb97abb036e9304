import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_upstream import event
from pagelet_gateway.server import sse
from pagelet_gateway.server.sse import EventGate, OversizedEventError
from pagelet_gateway.server.usage import Usage

DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"message": "gone"}}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'

pieces = st.sampled_from(
    [
        event("a"),
        event('says "error" [DONE]\n\ndata: x'),
        event("é\u2028"),
        ROLE,
        DONE,
        b"data:[DONE]\n\n",
        ERROR,
        b": keep-alive\n\n",
        b"\n",
        b"event: x\nid: 1\ndata: {}\n\n",
        b"data: two\ndata: lines\n\n",
        b"data: crlf\r\n\r\n",
        b'data: {"choices":[{"text":"t"}]}\r\n\r\n',
        b"data: cr\r\r",
        b"data\n\n",
        b"retry: 5\n\n",
    ]
)


def state(gate: EventGate) -> dict[str, Any]:
    return {
        "events": gate.num_events,
        "token_events": gate.num_token_events,
        "token": gate.has_token,
        "done": gate.is_done,
        "error": gate.error is not None,
    }


def reference(stream: bytes) -> dict[str, Any]:
    """Line by line, as the specification has it; obviously right and slow."""
    seen: dict[str, Any] = dict.fromkeys(("token", "done", "error"), False)
    seen |= {"events": 0, "token_events": 0}
    data: list[bytes] = []
    for line in stream.splitlines():
        if line[:5] == b"data:":
            data.append(line[5:].removeprefix(b" "))
        if line or not data:
            continue
        payload, data = b"\n".join(data), []
        seen["events"] += 1
        seen["done"] |= payload == b"[DONE]"
        with contextlib.suppress(ValueError):
            content = json.loads(payload)
            seen["error"] |= "error" in content
            for choice in content.get("choices", []):
                seen["token"] |= bool(choice.get("text") or choice.get("delta", {}).get("content"))
        seen["token_events"] += seen["token"] and payload != b"[DONE]"
    return seen


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(pieces, max_size=12), st.lists(st.integers(0, 600), max_size=8))
def test_however_a_stream_is_cut_it_passes_unchanged_and_is_counted_as_the_reference(parts, cuts):
    stream = b"".join(parts)
    gate = EventGate()
    passed = b"".join(gate.feed(chunk) for chunk in cut(stream, cuts))
    assert stream.startswith(passed)
    assert passed + gate._held == stream
    assert state(gate) == reference(passed)


@given(st.lists(pieces, max_size=12), st.lists(st.integers(0, 600), max_size=8))
def test_the_plain_path_and_the_general_path_agree(parts, cuts):
    chunks = cut(b"".join(parts), cuts)
    both, slow = EventGate(), EventGate()
    for chunk in chunks:
        fast_out, slow_out = both.feed(chunk), slow._feed_slowly(chunk)
        assert fast_out == slow_out
        assert state(both) == state(slow)


def test_an_event_that_has_not_ended_is_held_back():
    gate = EventGate()
    assert gate.feed(event("a") + b'data: {"cho') == event("a")
    assert gate.feed(b'ices": []}') == b""
    assert gate.feed(b"\n") == b""
    assert gate.feed(b"\n") == b'data: {"choices": []}\n\n'
    assert gate.num_events == 2


def test_plain_chunks_take_the_plain_path(monkeypatch):
    gate = EventGate()
    gate.feed(event("first"))
    monkeypatch.setattr(EventGate, "_feed_slowly", None)
    assert gate.feed(event("b") + event("c")) == event("b") + event("c")
    assert gate.feed(DONE) == DONE
    assert gate.num_events == 4
    assert gate.is_finished


def test_events_with_a_name_or_a_comment_before_them_are_counted():
    gate = EventGate()
    gate.feed(event("first"))
    gate.feed(event("a") + b"event: x\ndata: {}\n\n" + event("b"))
    gate.feed(event("c") + b": ping\n\n" + event("d"))
    assert gate.num_events == 6


def test_the_role_is_not_a_token():
    gate = EventGate()
    gate.feed(ROLE)
    assert not gate.has_token
    gate.feed(event("a"))
    assert gate.has_token


@pytest.mark.parametrize(
    ("stream", "finished"),
    [
        (b"", False),
        (event("a"), False),
        (event("a") + DONE, True),
        (event("a") + ERROR, True),
        (event("a") + b"data: [DONE]", True),
        (event("a") + b"data:[DONE]\n", True),
        (event("a") + DONE + b"data: {", False),
        (event("[DONE]"), False),
    ],
)
def test_only_done_or_an_error_finishes_a_stream(stream, finished):
    gate = EventGate()
    gate.feed(stream)
    gate.close()
    assert gate.is_finished is finished


def test_a_last_done_without_its_blank_line_is_completed():
    gate = EventGate()
    assert gate.feed(b"data: [DONE]\n") == b""
    assert gate.close() == DONE


def test_an_endless_event_is_an_error_not_a_growing_buffer(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    gate = EventGate()
    gate.feed(b"data: " + b"x" * 990)
    with pytest.raises(OversizedEventError):
        gate.feed(b"x" * 10)


USAGE = b': pagelet-usage {"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'


@given(st.data())
def test_the_count_for_the_gateway_is_read_and_goes_no_further(data):
    shown = [event("a"), b": waiting\n\n", event("b"), b"data: [DONE]\n\n"]
    stream = b"".join([*shown[:3], USAGE, shown[3]])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    gate, passed = EventGate(), b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        passed += gate.feed(stream[start:end])
    passed += gate.close()
    assert passed == b"".join(shown)
    assert gate.is_finished
    assert gate.usage == Usage(7, 2)


@pytest.mark.parametrize("is_first", [True, False])
def test_usage_in_the_last_event_is_read_in_passing(is_first):
    last = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
    gate = EventGate()
    if not is_first:
        gate.feed(event("a"))
    gate.feed(last + b"data: [DONE]\n\n")
    assert (gate.usage, gate.is_done) == (Usage(7, 2), True)


@given(st.integers(1, 9))
def test_the_prompt_is_known_before_the_first_event_and_is_no_count_of_the_whole(cut):
    gate = EventGate()
    opening = b': pagelet-usage {"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
    assert gate.feed(opening[:cut]) + gate.feed(opening[cut:]) == b""
    assert (gate.prompt_tokens, gate.usage) == (7, None)
    assert gate.feed(event("a")) == event("a")
    assert gate.usage is None
    gate.feed(USAGE + b"data: [DONE]\n\n")
    assert (gate.prompt_tokens, gate.usage) == (7, Usage(7, 2))


@pytest.mark.parametrize("space", [b"", b" "])
def test_usage_that_arrives_apart_from_the_end_mark_is_read(space):
    gate = EventGate()
    usage = b'{"prompt_tokens":7,"completion_tokens":2}'
    gate.feed(b'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\n')
    gate.feed(b'data: {"choices":[],"usage":' + space + usage + b"}\n\n")
    gate.feed(b"data: [DONE]\n\n")
    assert (gate.usage, gate.is_done) == (Usage(7, 2), True)

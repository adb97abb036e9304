"""A stream adds up to an answer only if every choice ends once and `[DONE]` comes last."""

import json

import pytest

from pagelet_bench.core.check.exchange import Exchange
from pagelet_bench.core.check.streams import DONE, read_stream
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.verdict import JudgedError, Verdict

TARGET = Target(model="m")


def chunk(content=None, finish=None, index=0, **delta):
    shown = ({} if content is None else {"content": content}) | delta
    return {"choices": [{"index": index, "delta": shown, "finish_reason": finish}]}


def piece(text, finish=None):
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish}]}


def call(arguments, index=0, **head):
    function = {"arguments": arguments} | ({"name": head["name"]} if "name" in head else {})
    first = {"id": head["id"], "type": "function"} if "id" in head else {}
    return chunk(tool_calls=[first | {"index": index, "function": function}])


def streamed(*events, chat=True, **changes):
    request = TARGET.chat(stream=True) if chat else TARGET.complete(stream=True)
    data = tuple(event if isinstance(event, str) else json.dumps(event) for event in events)
    kind = {"content-type": "text/event-stream; charset=utf-8"}
    return Exchange(request=request, **({"status": 200, "headers": kind, "events": data} | changes))


def verdict(exchange):
    with pytest.raises(JudgedError) as caught:
        read_stream(exchange)
    return caught.value.finding.verdict


def test_a_whole_stream_adds_up():
    counted = {"choices": [], "usage": {"prompt_tokens": 3}}
    whole = read_stream(
        streamed(
            chunk("", role="assistant"), chunk("a"), chunk("b"), chunk(None, "stop"), counted, DONE
        )
    )
    assert (whole.answer.text, whole.answer.finish) == ("ab", "stop")
    assert whole.answer.count("prompt_tokens") == 3
    assert len(whole.chunks) == 5
    assert (
        read_stream(streamed(piece("a"), piece("b", "length"), DONE, chat=False)).answer.text
        == "ab"
    )


def test_choices_are_told_apart_and_ordered():
    mixed = streamed(
        chunk("b", index=1), chunk("a"), chunk("b", "stop", 1), chunk("a", "length"), DONE
    )
    answer = read_stream(mixed).answer
    assert [(c.index, c.text, c.finish) for c in answer.choices] == [
        (0, "aa", "length"),
        (1, "bb", "stop"),
    ]


def test_the_pieces_of_calls_add_up():
    parts = [call('{"a"', id="x", name="f"), call("{}", 1, id="y", name="g"), call(": 1}")]
    calls = read_stream(streamed(*parts, chunk(None, "tool_calls"), DONE)).answer.choices[0].calls
    assert [(c.id, c.name, c.arguments) for c in calls] == [
        ("x", "f", '{"a": 1}'),
        ("y", "g", "{}"),
    ]


@pytest.mark.parametrize(
    "events",
    [
        (),
        (DONE,),
        (chunk("a", "stop"),),
        (chunk("a"), DONE),
        (chunk("a", "stop"), DONE, DONE),
        (chunk("a"), DONE, chunk(None, "stop")),
        (chunk("a", "stop"), chunk("b"), DONE),
        (chunk("a", "stop"), chunk(None, "stop"), DONE),
        (chunk("a", "eos"), DONE),
        (chunk("a", "stop", index=None), DONE),
        (chunk(1, "stop"), DONE),
        (chunk("a", "stop"), {"error": {"message": "no"}}, DONE),
        (chunk("a", "stop"), "{", DONE),
        (chunk("a", "stop"), {"id": "x"}, DONE),
        ({"choices": ["x"]}, DONE),
        (piece("a", "stop"), DONE),
        ({"choices": [], "usage": {}}, DONE),
        (chunk("a"), chunk("b", "stop", 1), DONE),
        (call("{}", name="f"), chunk(None, "tool_calls"), DONE),
        (call("{}", id="x"), chunk(None, "tool_calls"), DONE),
        (call(1, id="x", name="f"), chunk(None, "tool_calls"), DONE),
        (call("{}", None, id="x", name="f"), chunk(None, "tool_calls"), DONE),
        (chunk(None, "stop", tool_calls={}), DONE),
        (chunk(None, "stop", tool_calls=["x"]), DONE),
    ],
)
def test_a_stream_that_is_not_whole_is_broken(events):
    assert verdict(streamed(*events)) is Verdict.BROKEN


def test_an_answer_in_one_piece_is_a_stream_ignored_and_a_cut_one_broken():
    whole = streamed(headers={"content-type": "application/json"}, events=(), text="{}")
    assert verdict(whole) is Verdict.IGNORED
    assert verdict(streamed(chunk("a", "stop"), DONE, failure="cut")) is Verdict.BROKEN
    assert verdict(streamed(status=400)) is Verdict.REFUSED

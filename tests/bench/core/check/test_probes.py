"""Each probe honours what is right and catches a server that is wrong in just that."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from check_endpoint import DEFECTS, MODEL, Endpoint
from pagelet_bench.core.check.catalogue import PROBES, select
from pagelet_bench.core.check.exchange import Exchange
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.trial import Trial
from pagelet_bench.core.check.verdict import MAX_REQUESTS, Finding, Verdict

TARGET = Target(model=MODEL, has_key=True, max_model_len=64)
H, I, B, R = Verdict.HONOURED, Verdict.IGNORED, Verdict.BROKEN, Verdict.REFUSED  # noqa: E741


def ask(probe_id, respond):
    (probe,) = select([probe_id])
    trial = Trial(probe, TARGET)
    while trial.request is not None:
        trial.take(respond(trial.request))
    return trial.outcome().finding


CAUGHT = {
    "seed": ("sampling.seed", I),
    "temperature": ("sampling.temperature", I),
    "top_p": ("sampling.top_p", I),
    "stop": ("stopping.stop", I),
    "stop_finish": ("stopping.stop", B),
    "max_tokens": ("basic.max_tokens", I),
    "n": ("basic.n", I),
    "usage_sum": ("basic.usage", B),
    "logit_bias": ("sampling.logit_bias", I),
    "penalty": ("sampling.presence_penalty", I),
    "bad_words": ("sampling.bad_words", I),
    "logprobs": ("logprobs.chat", I),
    "positive_logprob": ("logprobs.chat", B),
    "heavy_tops": ("logprobs.chat", B),
    "nan": ("logprobs.chat", B),
    "schema": ("constraints.json_schema", I),
    "tools": ("tools.required", I),
    "bad_arguments": ("tools.required_stream", B),
    "call_without_id": ("tools.named_stream", B),
    "role": ("basic.chat_object", B),
    "false_done": ("streaming.chat", B),
    "no_done": ("streaming.chat", B),
    "cut_stream": ("streaming.chat", B),
    "finish_twice": ("streaming.chat", B),
    "no_finish": ("streaming.chat", B),
    "stream_ignored": ("streaming.chat", I),
    "odd_finish": ("basic.max_tokens", B),
    "usage_choices": ("streaming.include_usage", B),
    "integer_code": ("errors.object", B),
    "bare_error": ("errors.object", B),
    "unknown_field": ("errors.unknown_field", I),
    "server_error": ("errors.wrong_type", B),
    "html": ("basic.chat_object", B),
    "any_model": ("errors.unknown_model", I),
    "any_key": ("errors.wrong_key", I),
    "echo": ("prompts.echo", I),
    "token_ids": ("prompts.token_ids", I),
}


def test_every_defect_has_a_probe_that_must_catch_it():
    assert set(CAUGHT) == DEFECTS - {"hang_up"}  # over a socket only, see test_wire.py


@pytest.mark.parametrize("defect", CAUGHT)
def test_a_server_wrong_in_one_thing_is_caught_by_the_probe_that_a_right_one_passes(defect):
    probe_id, verdict = CAUGHT[defect]
    assert ask(probe_id, Endpoint().respond).verdict is H
    finding = ask(probe_id, Endpoint(defect).respond)
    assert finding.verdict is verdict, finding.evidence


def test_a_parameter_the_server_refuses_is_refused_with_its_words():
    finding = ask("sampling.min_p", Endpoint().respond)
    assert (finding.verdict, finding.evidence) == (R, "HTTP 400: unknown field")


def test_a_probe_of_a_route_that_is_not_there_asks_nothing():
    target = Target(model=MODEL, has_completions=False)
    (probe,) = select(["prompts.echo"])
    trial = Trial(probe, target)
    assert trial.request is None
    assert trial.outcome().finding.verdict is Verdict.UNTESTABLE


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_endpoint_is_not_called_wrong(status):
    finding = ask("sampling.seed", lambda r: Exchange(request=r, status=status, text="later"))
    assert finding.verdict is Verdict.UNTESTABLE


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.id)
def test_no_probe_honours_an_endpoint_that_answers_500_or_nothing(probe):
    for status, failure in ((500, ""), (0, "no complete answer within 1 s")):
        trial = Trial(probe, TARGET)
        while trial.request is not None:
            trial.take(Exchange(request=trial.request, status=status, text="x", failure=failure))
        verdict = trial.outcome().finding.verdict
        assert verdict in (B, Verdict.UNTESTABLE), trial.outcome().finding


names = st.sampled_from(
    ["error", "message", "code", "choices", "index", "finish_reason", "delta", "content", "text",
     "usage", "prompt_tokens", "completion_tokens", "logprobs", "tool_calls", "function", "name",
     "arguments", "id", "object", "data", "role"]
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def exchanges(draw):
    """Draw an answer near enough to a real one to get past the first check."""
    choice = draw(
        st.fixed_dictionaries(
            {
                "index": st.sampled_from([0, 0, 0, None, "0", 1]),
                "finish_reason": st.sampled_from(["stop", "length", "length", None, "eos"]),
                "message": st.fixed_dictionaries(
                    {"role": st.just("assistant"), "content": st.text(max_size=40) | json_values},
                    optional={"tool_calls": json_values},
                ),
                "text": st.text(max_size=40),
                "delta": st.dictionaries(names, json_values, max_size=3),
                "logprobs": json_values,
            }
        )
    )
    whole = {"choices": [choice], "usage": draw(st.dictionaries(names, st.integers(0, 99)))}
    body = draw(st.just(whole) | st.dictionaries(names, json_values) | json_values)
    data = json.dumps(body)
    events = draw(st.lists(st.sampled_from([data, "[DONE]", "{", data]), max_size=4))
    kind = draw(st.sampled_from(["application/json", "text/event-stream"]))
    return {
        "status": draw(st.sampled_from([200, 200, 200, 400, 404, 401, 500, 302, 0])),
        "headers": {"content-type": kind},
        "text": data,
        "events": tuple(events),
        "failure": draw(st.sampled_from(["", "", "", "cut"])),
        "is_reused": draw(st.booleans()),
    }


@given(
    probe=st.sampled_from(PROBES),
    answers=st.lists(exchanges(), min_size=MAX_REQUESTS, max_size=MAX_REQUESTS),
)
@settings(max_examples=80, deadline=None)
def test_whatever_is_answered_every_probe_ends_in_a_finding_and_replays_to_the_same(probe, answers):
    findings = []
    for _ in range(2):
        trial, waiting = Trial(probe, TARGET), iter(answers)
        while trial.request is not None:
            trial.take(Exchange(request=trial.request, **next(waiting)))
        findings.append(trial.outcome().finding)
    assert isinstance(findings[0], Finding)
    assert findings[0] == findings[1]
    assert "\n" not in findings[0].evidence
    assert len(findings[0].evidence) <= 300


def required(calls, finish):
    """Ask for a call; the answer holds these arguments of `get_tide`."""
    called = [
        {"id": f"c{i}", "type": "function", "function": {"name": "get_tide", "arguments": text}}
        for i, text in enumerate(calls)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": called}
    body = {"choices": [{"index": 0, "finish_reason": finish, "message": message}]}
    return ask(
        "tools.required", lambda r: Exchange(request=r, status=200, text=json.dumps(body))
    ).verdict


def test_of_calls_cut_by_max_tokens_only_the_one_in_halves_is_left_out():
    whole, half, wrong = '{"harbour": "Genoa"}', '{"harbour": "Ge', '{"harbour": "Oslo"}'
    assert required([whole], "tool_calls") is H
    assert required([whole], "length") is H
    assert required([whole, half], "length") is H
    assert required([half], "length") is Verdict.UNTESTABLE
    assert required([whole, wrong], "length") is B
    assert required([whole, half], "tool_calls") is B

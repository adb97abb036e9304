import dataclasses
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_operator.core.planner.estimate import Question, estimate
from pagelet_operator.core.planner.fleet import Price
from pagelet_operator.core.planner.service import Targets
from pagelet_operator.planner.text import text, to_json
from planner_cases import CHAT, CPU, H100, LLAMA_8B, SMOLLM2, asked, mixes

FULL = Question(device=H100, mix=CHAT, rate_per_s=80.0, price=Price(amount=2.5, currency="EUR"))


def test_people_read_all_of_it():
    shown = text(estimate(LLAMA_8B, asked(), FULL))
    assert [line[2:14].rstrip() for line in shown.splitlines()] == [
        "on", "weights", "activations", "KV cache", "cache holds", "at once", "lengths", "speed",
        "one replica", "replicas", "each gives", "at peak", "a month",
    ]  # fmt: skip
    assert "15.0 GiB: 8,030,261,248 parameters in bfloat16" in shown
    assert "28,421 blocks of 16, 454,736 tokens at 128.0 KiB" in shown
    assert "4 for 80 requests/s, 4 GPUs" in shown
    assert "Surge 8, Borrow 4, InPlace 4, BlueGreen 8, Recreate 4" in shown
    assert "7,300.00 EUR at 2.5 an hour each" in shown


def test_what_is_unknown_says_what_to_give():
    alone = Question(device=CPU)
    assert "give --measured" in text(estimate(SMOLLM2, asked(), alone))
    assert "give --prompt-tokens" in text(estimate(LLAMA_8B, asked(), Question(device=H100)))
    assert "Borrow 1 (finds no room)" in text(estimate(SMOLLM2, asked(), alone))


def test_targets_that_nothing_keeps_leave_only_the_warning():
    found = estimate(LLAMA_8B, asked(targets=Targets(ttft_p99_s=1e-6)), FULL)
    shown = text(found)
    assert "\n  one replica" not in shown
    assert "warning: no number of replicas keeps" in shown


def test_json_is_camel_case_with_units_and_no_infinity():
    found = estimate(LLAMA_8B, asked(), FULL)
    assert found.most is not None
    endless = dataclasses.replace(found.most, ttft_p99_s=float("inf"))
    document = to_json(dataclasses.replace(found, most=endless))
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["most"]["ttftP99Seconds"] is None
    assert document["most"]["requestsPerSecond"] == found.most.requests_per_s
    assert document["memory"]["numBlocks"] == 28_421
    assert document["shape"]["numParameters"] == LLAMA_8B.num_parameters
    assert document["mix"]["heldTokens"] == CHAT.held_tokens
    assert document["price"] == {"amount": 2.5, "currency": "EUR"}


@settings(max_examples=30)
@given(mixes(), st.floats(0.01, 1e4))
def test_any_estimate_can_be_shown(mix, rate):
    found = estimate(LLAMA_8B, asked(), dataclasses.replace(FULL, mix=mix, rate_per_s=rate))
    assert "nan" not in text(found)
    json.dumps(to_json(found), allow_nan=False)

"""A constraint holds behind a thought, and leaves room for calls where it says so."""

import msgspec
import pytest

from engine_matching import END_THINK, THINK, fits, may_begin
from pagelet_engine.constraints import spec
from pagelet_engine.text.dialect import Dialect
from pagelet_engine.text.reasoning import Thinking

DEMANDS = [
    (spec.json_schema({"const": "a"}, param="p"), '"a"'),
    (spec.regex("a+b", param="p"), "aab"),
    (spec.choice(["yes", "no"], param="p"), "no"),
    (spec.grammar('start: "x" preface\npreface: "y"', param="p"), "xy"),
]
TEXT = Dialect(thinks=True)
CONTROL = Dialect(thinks=True, thought_ids={"<think>": THINK, "</think>": END_THINK})


@pytest.mark.parametrize(("constraint", "output"), DEMANDS)
def test_without_a_thought_the_output_is_all_there_is(constraint, output):
    assert fits(constraint, output)
    assert not may_begin(constraint, "<think>")
    assert TEXT.preface(Thinking.CLOSED) is None


@pytest.mark.parametrize(("constraint", "output"), DEMANDS)
def test_a_thought_is_free_and_the_constraint_holds_behind_it(constraint, output):
    begun = msgspec.structs.replace(constraint, preface=TEXT.preface(Thinking.OPEN))
    assert fits(begun, "any {thing}\n</think>\n\n", output)
    assert may_begin(begun, "a</thin")
    assert not fits(begun, "any {thing}")
    assert not may_begin(begun, "so</think>\n\n!")
    free = msgspec.structs.replace(constraint, preface=TEXT.preface(Thinking.FREE))
    assert fits(free, output)
    assert fits(free, "<think>so</think>", output)
    assert not may_begin(free, "!")


@pytest.mark.parametrize(("constraint", "output"), DEMANDS)
def test_tags_that_are_control_tokens_open_and_end_thoughts(constraint, output):
    begun = msgspec.structs.replace(constraint, preface=CONTROL.preface(Thinking.OPEN))
    assert fits(begun, "so </think> it is", END_THINK, "\n", output)
    free = msgspec.structs.replace(constraint, preface=CONTROL.preface(Thinking.FREE))
    assert fits(free, THINK, "so", END_THINK, output)
    assert fits(free, output)


@pytest.mark.parametrize(("constraint", "output"), DEMANDS)
def test_calls_do_instead_of_the_output(constraint, output):
    either = msgspec.structs.replace(constraint, calls='start: "<call>" output\noutput: "1"')
    assert fits(either, output)
    assert fits(either, "<call>1")
    assert not may_begin(either, "<call>", output)
    behind = msgspec.structs.replace(either, preface=TEXT.preface(Thinking.OPEN))
    assert fits(behind, "so</think>", "<call>1")

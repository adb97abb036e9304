"""Caps are checked before anything is compiled, and each refusal names the cap."""

import json

import pytest

from pagelet_engine.constraints import spec
from pagelet_engine.constraints.messages import mask_bytes
from pagelet_engine.errors import InvalidRequestError


def nested(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: spec.json_schema(nested(40), param="p"), str(spec.MAX_SCHEMA_DEPTH)),
        (lambda: spec.json_schema({"enum": ["x" * 70_000]}, param="p"), str(64 * 1024)),
        (lambda: spec.json_schema("x" * 70_000, param="p"), str(64 * 1024)),
        (lambda: spec.json_schema("{", param="p"), "not JSON"),
        (lambda: spec.json_schema("[" * 60_000, param="p"), "not JSON"),
        (lambda: spec.json_schema([1], param="p"), "an object"),
        (lambda: spec.regex("a" * 5000, param="p"), str(spec.MAX_REGEX_CHARS)),
        (lambda: spec.regex("", param="p"), "empty"),
        (lambda: spec.grammar("a" * 70_000, param="p"), str(spec.MAX_GRAMMAR_CHARS)),
        (lambda: spec.choice([], param="p"), "empty"),
        (lambda: spec.choice([""], param="p"), "empty"),
        (lambda: spec.choice(["a"] * 1025, param="p"), str(spec.MAX_CHOICES)),
        (lambda: spec.choice(["a" * 1025], param="p"), str(spec.MAX_CHOICE_CHARS)),
    ],
)
def test_what_exceeds_a_cap_is_refused_with_the_cap(make, says):
    with pytest.raises(InvalidRequestError) as caught:
        make()
    assert says in str(caught.value)
    assert caught.value.param == "p"


def test_what_is_within_the_caps_is_kept_word_for_word():
    schema = {"type": "object", "properties": {"a": nested(25)}}
    assert json.loads(spec.json_schema(schema, param="p").source) == schema
    assert json.loads(spec.json_schema(json.dumps(schema), param="p").source) == schema
    assert spec.regex("a" * spec.MAX_REGEX_CHARS, param="p").source == "a" * spec.MAX_REGEX_CHARS
    assert json.loads(spec.choice(["a", 'b"'], param="p").source) == ["a", 'b"']


def test_depth_counts_every_nesting_and_not_width():
    wide = {str(index): [1] for index in range(5000)}
    spec.check_depth(wide, param="p")
    deep: object = 1
    for _ in range(spec.MAX_SCHEMA_DEPTH):
        deep = [deep]
    spec.check_depth(deep, param="p")
    with pytest.raises(InvalidRequestError):
        spec.check_depth([deep], param="p")


@pytest.mark.parametrize(("vocab_size", "num_bytes"), [(1, 4), (32, 4), (33, 8), (49152, 6144)])
def test_a_mask_is_whole_words(vocab_size, num_bytes):
    assert mask_bytes(vocab_size) == num_bytes

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.prompt_ids import how_many, longest

IDS = st.lists(st.integers(0, 10**6), min_size=1, max_size=30)
DENSE, WIDE = (",", ":"), (" , ", ": ")


@given(IDS, st.sampled_from([DENSE, WIDE]), st.sampled_from([None, 1]))
def test_a_list_of_ids_is_counted_however_it_is_written(ids, separators, indent):
    assert longest(json.dumps(ids, separators=separators, indent=indent).encode()) == len(ids)


@given(
    st.lists(IDS | st.just([]), min_size=1, max_size=5).filter(lambda prompts: prompts[0]),
    st.booleans(),
)
def test_of_several_prompts_the_longest_counts(prompts, is_wide):
    raw = json.dumps(prompts, separators=WIDE if is_wide else DENSE).encode()
    assert longest(raw) == max(map(len, prompts))


@given(st.text(max_size=20) | st.lists(st.text(max_size=9) | st.just("1,2],[3"), max_size=5))
def test_text_is_not_counted(prompt):
    assert longest(json.dumps(prompt).encode()) is None


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"[[]]", b"null", b"5", b'{"a":1}', b"[ [ ] ]", b"[0,[]]"]
)
def test_what_has_no_ids_has_no_count(raw):
    assert longest(raw) is None


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4)
)


@given(json_values, st.booleans())
def test_any_prompt_can_be_counted(value, is_view):
    raw = json.dumps(value).encode()
    found = longest(memoryview(raw) if is_view else raw)
    assert found is None or found >= 1


@given(
    st.lists(st.text(max_size=9) | st.sampled_from(['"', "\\", '\\"', "[[", '],["']), max_size=6)
)
def test_each_text_of_a_list_is_a_prompt(texts):
    assert how_many(json.dumps(texts).encode()) == max(1, len(texts))
    assert how_many(json.dumps(" ".join(texts)).encode()) == 1


@given(st.lists(IDS | st.just([]), min_size=1, max_size=5), st.booleans())
def test_each_list_of_ids_is_a_prompt(lists, is_wide):
    separators = WIDE if is_wide else DENSE
    assert how_many(json.dumps(lists, separators=separators).encode()) == len(lists)
    assert (
        how_many(json.dumps([i for one in lists for i in one], separators=separators).encode()) == 1
    )


def test_no_prompt_is_answered_once():
    assert how_many(b"") == 1

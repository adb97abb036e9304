from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.standing import MAX_CHARACTERS, Standing, excerpt, standing

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
rollouts = json_values | st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("phase", "message", "assessment", "paused"), json_values)
)
ROLLOUT = {
    "phase": "Progressing",
    "message": "step 2 of 4: 25 % for 5m",
    "stepStartedAt": "2031-01-01T00:00:00.000Z",
    "assessment": {"verdict": "Pass", "message": "p99 TTFT is 1.02 times stable's", "failures": 0},
}


def test_the_operators_words_are_read():
    assert standing(ROLLOUT) == Standing(
        phase="Progressing",
        verdict="Pass",
        why="p99 TTFT is 1.02 times stable's",
        message="step 2 of 4: 25 % for 5m",
    )


def test_a_pause_hides_what_it_holds():
    said = standing({**ROLLOUT, "paused": {"message": "paused by command"}})
    assert (said.phase, said.message, said.verdict) == ("Paused", "paused by command", "Pass")


def test_times_and_counters_change_nothing():
    later = {**ROLLOUT, "stepStartedAt": "2031-01-01T00:05:00.000Z"}
    assert excerpt(later) == excerpt(ROLLOUT)


@given(rollouts)
def test_no_shape_is_an_error_and_texts_are_bounded(rollout):
    said = standing(rollout)
    assert (said is None) == (not isinstance(rollout, dict))
    for text in (said.phase, said.verdict, said.why, said.message) if said else ():
        assert len(text) <= MAX_CHARACTERS


@given(rollouts)
def test_an_excerpt_says_what_the_whole_says(rollout):
    assert standing(excerpt(rollout)) == standing(rollout)


def test_long_texts_are_cut():
    assert len(standing({"message": "x" * 5000}).message) == MAX_CHARACTERS

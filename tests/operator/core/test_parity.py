"""Output parity: the figures of two revisions' answers, judged."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gates import GateStatus
from pagelet_operator.core.parity import changes_model, judge


def test_the_result_says_where_answers_part():
    figures = {
        "prompts": 20.0, "agreementPercent": 41.0, "identicalPercent": 5.0, "firstDivergence": 3.5
    }  # fmt: skip
    result = judge(figures, 90.0)
    assert result.status is GateStatus.FAILED
    assert result.message == (
        "41 % of tokens agree with stable, 5 % of 20 prompts to the end; those that part do so "
        "after 3.5 tokens; at least 90 % have to"
    )


def test_without_an_answer_there_is_no_verdict():
    assert judge({}, 0.0).status is GateStatus.ERROR
    assert judge({"prompts": 0.0, "agreementPercent": 100.0}, 0.0).status is GateStatus.ERROR


@given(st.floats(0, 100), st.floats(0, 100))
def test_it_passes_exactly_from_the_limit_on(agreed, least):
    status = judge({"prompts": 1.0, "agreementPercent": agreed}, least).status
    assert (status is GateStatus.PASSED) == (agreed >= least)


def test_a_name_or_an_engine_setting_changes_no_weights():
    old = {"model": {"source": "hf://a/b", "name": "x"}, "engine": {"maxModelLen": 2048}}
    assert not changes_model({"model": {"source": "hf://a/b"}}, old)
    assert changes_model({"model": {"source": "hf://a/c"}}, old)
    assert changes_model({"model": {"source": "hf://a/b", "revision": "v2"}}, old)
    assert changes_model({}, old)

"""What status says of scaling: news are written, readings are not, and memory is read back."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.api.scaling_status import REFRESH_S, scaler_state, scaling_status
from pagelet_operator.core.scaling import ScaleDecision, ScalerState

NOW = 1_800_000_000.0


def decided(replicas=2, reason="LoadGrows", **state):
    return ScaleDecision(
        state=ScalerState(replicas=replicas, **state),
        replicas=replicas,
        reason=reason,
        message="why",
        inputs={"running": 12.34567, "ttftP99": math.inf},
        wake_at=NOW + 15.0,
    )


def stored(decision, before=None, now=NOW):
    found = scaling_status(decision, before, now)
    return (
        None if found is None else found.model_dump(mode="json", by_alias=True, exclude_none=True)
    )


def test_where_nothing_is_scaled_nothing_is_said():
    assert stored(None, stored(decided())) is None


def test_a_decision_is_said_with_its_inputs_as_json():
    said = stored(decided())
    assert (said["replicas"], said["reason"], said["message"]) == (2, "LoadGrows", "why")
    assert said["inputs"] == {"running": 12.35, "ttftP99": 1e9}
    json.dumps(said, allow_nan=False)


def test_readings_that_change_nothing_write_nothing():
    before = stored(decided(reason="AtTarget"))
    later = decided(reason="Settling", capacity=33.3)
    assert stored(later, before, NOW + 1e5) == before


def test_a_new_number_is_written_at_once():
    before = stored(decided())
    assert stored(decided(replicas=3), before, NOW + 1.0)["replicas"] == 3


def test_a_new_reason_is_written_within_a_minute():
    before, blind = stored(decided(reason="AtTarget")), decided(reason="DataNotUsable")
    assert stored(blind, before, NOW + REFRESH_S - 1.0) == before
    assert stored(blind, before, NOW + REFRESH_S)["reason"] == "DataNotUsable"


@pytest.mark.parametrize("status", [None, {}, {"scaling": None}, {"scaling": {"replicas": "many"}}])
def test_what_cannot_be_read_is_no_memory(status):
    assert scaler_state(status) is None


@given(
    st.builds(
        ScalerState,
        replicas=st.integers(0, 1000),
        rising=st.one_of(st.none(), st.booleans()),
        reversed_up_at=st.one_of(st.none(), st.integers(1_700_000_000, 1_900_000_000)),
        cold_start_s=st.one_of(st.none(), st.integers(5, 1800)),
        capacity=st.one_of(st.none(), st.integers(1, 999)),
        tokens_capacity=st.one_of(st.none(), st.integers(1, 9999)),
    )
)
def test_what_is_remembered_is_read_back(state):
    decision = replace(decided(), state=state, replicas=state.replicas)
    read = scaler_state({"scaling": stored(decision)})
    assert read == replace(state, reason="LoadGrows", message="why")

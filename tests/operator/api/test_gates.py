"""`spec.rollout.gates`: off by default, refused where it cannot work, translated to gates."""

import pytest
from pydantic import ValidationError

from pagelet_operator.api.gates import NO_PROFILE, Gates, gates
from pagelet_operator.core.gates import GateKind

OLD = {"model": {"source": "hf://a/b"}}
OTHER = {"model": {"source": "hf://a/c"}}


def kinds(spec, canary=OLD, stable=OLD):
    return [gate.kind for gate in gates(Gates.model_validate(spec), canary, stable)]


def test_no_gate_is_run_unless_it_is_named():
    assert kinds({}) == []
    assert kinds({"warmup": {}, "parity": {}, "loadTest": {"profile": "single"}}) == list(GateKind)


def test_a_load_test_without_a_profile_is_refused_with_a_sentence():
    with pytest.raises(ValidationError, match=NO_PROFILE):
        Gates.model_validate({"loadTest": {}})


def test_other_weights_are_compared_only_if_asked_for():
    assert kinds({"parity": {}}, OTHER, OLD) == []
    assert kinds({"parity": {"whenModelChanges": "Run"}}, OTHER, OLD) == [GateKind.PARITY]


def test_without_a_stable_revision_there_is_nothing_to_compare_with():
    assert kinds({"parity": {"whenModelChanges": "Run"}}, OLD, None) == []


def test_limits_are_no_settings_so_changing_them_runs_nothing_again():
    spec = {"loadTest": {"profile": "mixed48", "requests": 8, "maxIncreasePercent": 50}}
    (gate,) = gates(Gates.model_validate(spec))
    assert gate.settings == {"profile": "mixed48", "requests": 8}
    assert gate.limits["maxIncreasePercent"] == 50
    assert gate.limit_s == 900

"""`spec.rollout.gates`: off by default, refused where it cannot work, translated to gates."""

import pytest
from pydantic import ValidationError

from pagelet_operator.api.gates import NO_PROFILE, Gates, gates
from pagelet_operator.api.resource import parse, to_model
from pagelet_operator.api.rollout import Rollout
from pagelet_operator.core.gates import GateKind
from pagelet_operator.core.gating import applicable

OLD = {"model": {"source": "hf://a/b"}}
OTHER = {"model": {"source": "hf://a/c"}}


def kinds(spec, canary=OLD, stable=OLD):
    asked = gates(Gates.model_validate(spec))
    return [gate.kind for gate in applicable(asked, canary, stable)]


def test_no_gate_is_run_unless_it_is_named():
    assert kinds({}) == []
    assert kinds({"warmup": {}, "parity": {}, "loadTest": {"profile": "single"}}) == list(GateKind)


def test_a_load_test_without_a_profile_is_refused_with_a_sentence():
    with pytest.raises(ValidationError, match=NO_PROFILE):
        Gates.model_validate({"loadTest": {}})


def test_other_weights_are_compared_only_if_asked_for():
    assert kinds({"parity": {}}, OTHER, OLD) == []
    assert kinds({"parity": {"whenModelChanges": "Run"}}, OTHER, OLD) == [GateKind.PARITY]


@pytest.mark.parametrize("named", [{"warmup": {}}, {"parity": {}}, {}])
def test_a_rollout_is_gated_if_a_gate_is_named(named):
    document = {
        "apiVersion": "pagelet.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "chat"},
        "spec": {"model": {"source": "dummy://tiny"}, "rollout": {"gates": named}},
    }
    policy = to_model(parse(document)).rollout
    assert (policy.gated, len(policy.gates)) == (bool(named), len(named))


def test_parity_with_nobody_left_to_compare_with_is_refused():
    with pytest.raises(ValidationError, match="Recreate"):
        Rollout.model_validate({"strategy": "Recreate", "gates": {"parity": {}}})
    Rollout.model_validate({"strategy": "Recreate", "gates": {"warmup": {}}})


def test_limits_are_no_settings_so_changing_them_runs_nothing_again():
    spec = {"loadTest": {"profile": "mixed48", "requests": 8, "maxIncreasePercent": 50}}
    (gate,) = gates(Gates.model_validate(spec))
    assert gate.settings == {"profile": "mixed48", "requests": 8}
    assert gate.limits["maxIncreasePercent"] == 50
    assert gate.limit_s == 900

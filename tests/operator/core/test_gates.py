"""Names and digests of gates: the same question has the same key, another one has another."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gates import Gate, GateKey, GateKind, GateRun

NAMES = st.from_regex(r"\A[a-z][-a-z0-9]{0,48}[a-z0-9]-[0-9a-f]{10}\Z")


@given(NAMES, st.sampled_from(GateKind), st.integers(0, 10_000))
def test_a_run_has_a_name_that_fits_a_dns_label(revision, kind, attempt):
    name = GateRun(GateKey(revision, kind, "0123abcd"), attempt).name
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 63


def test_two_tries_of_one_gate_have_two_names():
    key = GateKey("chat-0123456789", GateKind.PARITY, "0123abcd")
    assert GateRun(key, 0).name != GateRun(key, 1).name


@pytest.mark.parametrize("kind", GateKind)
def test_only_parity_is_a_statement_about_the_stable_revision(kind):
    gate = Gate(kind, {"requests": 3}, 60.0)
    same = gate.key("chat-1", "chat-0") == gate.key("chat-1", "chat-9")
    assert same == (kind is not GateKind.PARITY)


def test_other_settings_are_another_question_and_other_limits_are_not():
    gate = Gate(GateKind.LOAD_TEST, {"requests": 3}, 60.0, {"maxErrorPercent": 1.0})
    key = gate.key("chat-1", None)
    assert Gate(GateKind.LOAD_TEST, {"requests": 4}, 60.0).key("chat-1", None) != key
    assert Gate(GateKind.LOAD_TEST, {"requests": 3}, 30.0).key("chat-1", None) == key

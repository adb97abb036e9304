"""The operator's series: what a resource's status says, and nothing of resources that are gone."""

import re
from pathlib import Path

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.metrics import Metrics

REF = ModelRef("models", "chat")
STATUS = {"canary": {"weight": 25}, "stable": {"weight": 75}, "rollout": {"phase": "Progressing"}}


def lines(metrics: Metrics) -> set[str]:
    return set(metrics.exposition().decode().splitlines())


def test_a_reconcile_shows_weights_and_phase() -> None:
    metrics = Metrics()
    metrics.succeeded(REF, STATUS, 0.2, 1000.0)
    found = lines(metrics)
    where = 'name="chat",namespace="models"'
    assert f'pagelet_operator_requested_weight_percent{{{where},role="canary"}} 25.0' in found
    assert f'pagelet_operator_requested_weight_percent{{{where},role="stable"}} 75.0' in found
    assert f'pagelet_operator_phase{{{where},phase="Progressing"}} 1.0' in found
    assert f'pagelet_operator_phase{{{where},phase="Stable"}} 0.0' in found
    assert f"pagelet_operator_last_success_timestamp_seconds{{{where}}} 1000.0" in found
    assert "pagelet_operator_reconcile_seconds_count 1.0" in found


def test_a_canary_that_is_gone_has_weight_0() -> None:
    metrics = Metrics()
    metrics.succeeded(REF, STATUS, 0.2, 1000.0)
    metrics.succeeded(REF, {"stable": {"weight": 100}}, 0.2, 1001.0)
    assert any('role="canary"} 0.0' in line for line in lines(metrics))


def test_a_resource_that_is_gone_has_no_series() -> None:
    metrics = Metrics()
    metrics.succeeded(REF, STATUS, 0.2, 1000.0)
    metrics.forget(REF)
    metrics.forget(REF)
    assert not any('name="chat"' in line for line in lines(metrics))


def test_roles_verdict_and_conditions_are_as_the_status_says_now() -> None:
    metrics = Metrics()
    condition = {"type": "Stalled", "status": "False", "reason": "NotStalled"}
    status = {
        "traffic": {"name": "org/chat"},
        "stable": {"weight": 75, "revision": "chat-1"},
        "canary": {"weight": 25, "revision": "chat-2"},
        "rollout": {"phase": "Progressing", "assessment": {"verdict": "Inconclusive"}},
        "conditions": [condition],
    }
    where = 'name="chat",namespace="models"'
    metrics.succeeded(REF, status, 0.2, 1000.0)
    canary = (
        'pagelet_operator_revision_info{model="org/chat",name="chat",namespace="models",'
        'revision="chat-2",role="canary"} 1.0'
    )
    stalled = 'pagelet_operator_condition{condition="Stalled",name="chat",namespace="models"'
    assert canary in lines(metrics)
    assert f'pagelet_operator_verdict{{{where},verdict="Inconclusive"}} 1.0' in lines(metrics)
    assert f'{stalled},reason="NotStalled",status="False"}} 1.0' in lines(metrics)

    withdrawn = {**condition, "status": "True", "reason": "AnalysisFailed"}
    metrics.show(REF, {"stable": status["stable"], "conditions": [withdrawn]})
    found = lines(metrics)
    assert not any("chat-2" in line or "NotStalled" in line for line in found)
    assert f'{stalled},reason="AnalysisFailed",status="True"}} 1.0' in found
    assert f'pagelet_operator_verdict{{{where},verdict="Inconclusive"}} 0.0' in found


def test_a_refused_resource_shows_its_conditions_alone() -> None:
    metrics = Metrics()
    refused = {"type": "Accepted", "status": "False", "reason": "Invalid"}
    metrics.succeeded(REF, {"conditions": [refused], "canary": None}, 0.2, 1000.0)
    assert any('reason="Invalid",status="False"' in line for line in lines(metrics))
    assert not any(line.startswith("pagelet_operator_revision_info{") for line in lines(metrics))


def test_errors_writes_and_the_queue_are_counted() -> None:
    metrics = Metrics()
    metrics.failed("Conflict")
    metrics.wrote(3)
    metrics.queued(2)
    assert {
        'pagelet_operator_reconcile_errors_total{kind="Conflict"} 1.0',
        "pagelet_operator_writes_total 3.0",
        "pagelet_operator_queue_length 2.0",
    } <= lines(metrics)


def test_who_stands_by_says_so_from_then_on() -> None:
    metrics = Metrics()
    assert "pagelet_operator_works 1.0" in lines(metrics), "a lone operator works"
    held = [False]
    metrics.works_while(lambda: held[0])
    assert "pagelet_operator_works 0.0" in lines(metrics)
    held[0] = True
    assert "pagelet_operator_works 1.0" in lines(metrics)


def test_the_reference_page_names_every_series_and_no_other() -> None:
    text = (Path(__file__).parents[3] / "docs" / "reference" / "operator.md").read_text("utf-8")
    exported = {
        line.split()[2] for line in lines(Metrics()) if line.startswith("# TYPE pagelet_operator_")
    }
    documented = set(re.findall(r"^\| `(pagelet_operator_\w+)", text, re.MULTILINE))
    # A counter's creation time is the client library's, not ours.
    assert documented == {name for name in exported if not name.endswith("_created")}


def test_the_number_of_replicas_is_shown_with_the_reason_that_holds_it() -> None:
    metrics = Metrics()
    for reason, replicas in (("LoadGrows", 4), ("AtTarget", 4)):
        metrics.show(REF, {"scaling": {"reason": reason, "replicas": replicas}})
    found = [
        line for line in lines(metrics) if line.startswith("pagelet_operator_desired_replicas")
    ]
    assert len(found) == 1
    assert 'reason="AtTarget"' in found[0]
    assert found[0].endswith(" 4.0")
    metrics.show(REF, {})
    assert not [li for li in lines(metrics) if li.startswith("pagelet_operator_desired_replicas{")]

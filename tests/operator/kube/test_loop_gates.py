"""Gates on a real API server: a Job decides, a killed operator finds it, no user comes before."""

import json
from typing import Any

import pytest

from kube_cluster import Cluster
from kube_fixtures import Operator, operating
from kube_pods import _patch_status, eventually, make_ready

pytestmark = pytest.mark.cluster

SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny"},
    "rollout": {
        "steps": [{"weight": 10, "hold": "30s"}],
        "gates": {"warmup": {"requests": 2}, "parity": {}},
        "analysis": {"metrics": []},
    },
}
JOBS = "batch/v1/jobs"


async def at_the_gates(operator: Operator, gates: dict[str, Any] | None = None) -> str:
    """Bring a second revision to its first gate; return its name."""
    rollout = SPEC["rollout"] | ({"gates": gates} if gates else {})
    operator.create(SPEC | {"rollout": rollout})
    old = str((await operator.turn())["rollout"]["canary"])
    make_ready(operator.cluster, operator.ref.namespace, old)
    await operator.turn()
    operator.change({"engine": {"maxModelLen": 512}})
    new = str((await operator.turn())["rollout"]["canary"])
    make_ready(operator.cluster, operator.ref.namespace, new)
    status = await operator.turn()
    assert (status["rollout"]["phase"], status["canary"]["weight"]) == ("Gating", 0)
    return new


def end(operator: Operator, kind: str, **figures: float) -> None:
    """Let the Job of one gate be over, with these figures as its last words."""
    cluster, selector = operator.cluster, f"pagelet.dev/gate={kind}"
    path = f"/api/v1/namespaces/{operator.ref.namespace}/pods?labelSelector={selector}"
    pod = eventually(lambda: cluster.get(path)["items"], "the gate's pod")[0]
    words = json.dumps({"schema": 1, "figures": figures, "message": ""})
    times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:10Z"}
    image = pod["spec"]["containers"][0]["image"]
    container = {
        "name": "gate", "ready": False, "restartCount": 0, "image": image, "imageID": image,
        "state": {"terminated": {"exitCode": 0, "message": words, **times}},
    }  # fmt: skip
    _patch_status(cluster, pod, {"phase": "Running", "containerStatuses": [container]})


async def test_jobs_let_a_canary_to_its_users_though_the_operator_is_killed_meanwhile(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        await at_the_gates(operator)
        (first,) = operator.objects(JOBS).values()
    async with operating(cluster, namespace) as operator:
        await operator.turn()
        (adopted,) = operator.objects(JOBS).values()
        assert adopted["metadata"]["uid"] == first["metadata"]["uid"]
        end(operator, "warmup", requests=2, failed=0)
        assert (await operator.turn())["canary"]["weight"] == 0
    async with operating(cluster, namespace) as operator:
        status = await operator.turn()
        (left,) = operator.objects(JOBS).values()
        assert left["metadata"]["labels"]["pagelet.dev/gate"] == "parity"
        assert [item["status"] for item in status["rollout"]["gates"]] == ["Pending", "Passed"]
        end(operator, "parity", prompts=20, agreementPercent=100)
        status = await operator.turn()
        assert (status["rollout"]["phase"], status["canary"]["weight"]) == ("Progressing", 10)
        await operator.turn()
        assert operator.objects(JOBS) == {}


async def test_a_load_test_speaks_for_the_revision_that_passed_it(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        await at_the_gates(operator, gates={"loadTest": {"profile": "single"}})
        assert operator.condition("PerformanceValidated")["reason"] == "NotTested"
        end(operator, "loadTest", requests=8, ttftP50=0.1)
        await operator.turn()
        operator.now += 30
        status = await operator.turn()
        assert status["rollout"]["phase"] == "Stable"
        assert operator.condition("PerformanceValidated")["reason"] == "LoadTested"


async def test_a_canary_that_says_other_things_is_withdrawn_and_a_retry_asks_again(
    cluster: Cluster, namespace: str
) -> None:
    async with operating(cluster, namespace) as operator:
        new = await at_the_gates(operator)
        end(operator, "warmup", requests=2, failed=0)
        await operator.turn()
        end(operator, "parity", prompts=20, agreementPercent=12)
        status = await operator.turn()
        assert (status["rollout"]["failed"], status["rollout"]["phase"]) == (new, "Failed")
        assert "parity" in status["rollout"]["message"]
        await operator.turn()
        assert operator.objects(JOBS) == {}
        note = {"metadata": {"annotations": {"pagelet.dev/rollout-command": "retry/1"}}}
        kind = "application/merge-patch+json"
        assert cluster.request("PATCH", operator.path, note, kind=kind)[0] == 200
        await operator.turn()
        status = await operator.turn()
        assert status["rollout"]["phase"] == "Gating"
        (job,) = operator.objects(JOBS).values()
        assert job["metadata"]["labels"]["pagelet.dev/gate"] == "parity"

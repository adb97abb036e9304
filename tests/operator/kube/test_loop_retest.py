"""What serves is load-tested again on a real API server: one Job, though operators die."""

import json
from typing import Any

import pytest

from kube_cluster import Cluster
from kube_fixtures import Operator, operating
from kube_pods import _patch_status, eventually, make_ready
from operator_figures import Figures
from pagelet_operator.core.retest import IDLE_S
from pagelet_operator.core.window import Window

pytestmark = pytest.mark.cluster

JOBS = "batch/v1/jobs"
GATES = {"loadTest": {"profile": "single"}}
ROLLOUT: dict[str, Any] = {
    "steps": [{"weight": 50, "hold": "1s"}],
    "retainStable": "1h",
    "analysis": {"metrics": []},
}
SPEC: dict[str, Any] = {"model": {"source": "dummy://tiny"}, "rollout": ROLLOUT}


class Idle(Figures):
    """Nobody asked for anything in the last minutes."""

    async def windows(self, model: Any, fleet: Any, since: float) -> Any:
        idle = Window(since=0.0, until=IDLE_S)
        return dict.fromkeys(fleet.revisions, idle)


def end(operator: Operator) -> None:
    """Let the one Job be over, with a load test's figures as its last words."""
    path = f"/api/v1/namespaces/{operator.ref.namespace}/pods?labelSelector=pagelet.dev/gate"
    pod = eventually(lambda: operator.cluster.get(path)["items"], "the test's pod")[0]
    counts = [0, 3] + [0] * 14
    words = {
        "schema": 1, "message": "", "lengths": {"prompt": counts, "output": counts},
        "figures": {"requests": 3, "errorRate": 0, "timeoutRate": 0},
    }  # fmt: skip
    times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:10Z"}
    image = pod["spec"]["containers"][0]["image"]
    container = {
        "name": "gate", "ready": False, "restartCount": 0, "image": image, "imageID": image,
        "state": {"terminated": {"exitCode": 0, "message": json.dumps(words), **times}},
    }  # fmt: skip
    _patch_status(operator.cluster, pod, {"phase": "Running", "containerStatuses": [container]})


async def rolled_out(operator: Operator, spec: dict[str, Any], *, gated: bool = False) -> str:
    """Change the spec and let its revision become stable."""
    operator.change(spec)
    new = str((await operator.turn())["rollout"]["canary"])
    make_ready(operator.cluster, operator.ref.namespace, new)
    await operator.turn()
    if gated:
        end(operator)
    for _ in range(6):
        operator.now += 2.0
        status = await operator.turn()
    assert status["stable"]["revision"] == new, status["rollout"]
    return new


async def test_another_model_is_tested_by_one_job_and_validated(
    cluster: Cluster, namespace: str
) -> None:
    idle = Idle({})
    async with operating(cluster, namespace, telemetry=idle) as operator:
        operator.create(SPEC)
        first = str((await operator.turn())["rollout"]["canary"])
        make_ready(cluster, namespace, first)
        await operator.turn()
        tested = {"rollout": ROLLOUT | {"gates": GATES}, "engine": {"maxModelLen": 64}}
        await rolled_out(operator, tested, gated=True)
        assert operator.condition("PerformanceValidated")["reason"] == "LoadTested"
        other = {"rollout": {"gates": None}, "model": {"source": "dummy://small"}}
        new = await rolled_out(operator, other)
        assert operator.condition("PerformanceValidated")["reason"] == "ModelChanged"
        assert "rollout.gates.loadTest" in operator.condition("PerformanceValidated")["message"]
        operator.change({"rollout": {"gates": GATES}})
        status = await operator.turn()
        assert status["performance"]["testing"]
        assert operator.objects(JOBS) == {}, "written down first"
        now = operator.now
    async with operating(cluster, namespace, telemetry=idle, now=now) as operator:
        await operator.turn()
        (job,) = operator.objects(JOBS).values()
        assert job["metadata"]["annotations"]["pagelet.dev/gate-revision"] == new
    async with operating(cluster, namespace, telemetry=idle, now=now) as operator:
        await operator.turn()
        (same,) = operator.objects(JOBS).values()
        assert same["metadata"]["uid"] == job["metadata"]["uid"]
        end(operator)
        await operator.turn()
        status = await operator.turn()
        said = operator.condition("PerformanceValidated")
        assert (said["status"], said["reason"]) == ("True", "LoadTested")
        assert "testing" not in status["performance"] or not status["performance"]["testing"]
        found = next(item for item in status["rollout"]["gates"] if item["revision"] == new)
        assert (found["gate"], found["status"]) == ("loadTest", "Passed")
        assert found["lengths"]["prompt"][1] == 3
        versions = operator.versions()
        await operator.turn()
        assert operator.versions() == versions
        assert eventually(lambda: not operator.objects(JOBS), "the Job is gone")

"""Gates as Jobs: made once, found again, read from their pod's last words, removed."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from kube_cluster import Cluster
from kube_fixtures import operating
from kube_pods import _patch_status, eventually
from pagelet_operator.core.gate_report import Report
from pagelet_operator.core.gates import Gate, GateKey, GateKind, GateRun, GateStatus
from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import connect, load_configuration
from pagelet_operator.kube.gate_jobs import JobGates, job, read_run, result
from pagelet_operator.ports import GateOrder, UnavailableError

IMAGE = "example.org/operator:1"
GATE = Gate(GateKind.LOAD_TEST, {"profile": "mixed48"}, 600.0)
RUN = GateRun(GATE.key("chat-0123456789", None))
SUMMARY = json.dumps({"schema": 1, "figures": {"requests": 48}, "message": ""})


def order(namespace, run=RUN):
    return GateOrder(
        ref=ModelRef(namespace, "chat"),
        served_name="chat",
        run=run,
        gate=GATE,
        canary="http://10.0.0.7:8000",
    )


@asynccontextmanager
async def job_gates(cluster):
    """What a fresh operator has, with its own rights and no memory."""
    configuration = await load_configuration(str(cluster.operator_kubeconfig))
    async with connect(configuration) as api:
        yield JobGates(api, IMAGE)


def jobs(cluster, namespace):
    return cluster.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")["items"]


def pod_of(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=pagelet.dev/gate"
    return eventually(lambda: cluster.get(path)["items"], "the gate's pod")[0]


def say(cluster, pod, state):
    image = pod["spec"]["containers"][0]["image"]
    status = {"name": "gate", "ready": False, "state": state, "restartCount": 0}
    status |= {"image": image, "imageID": image}
    _patch_status(cluster, pod, {"phase": "Running", "containerStatuses": [status]})


@pytest.mark.cluster
async def test_a_job_is_made_once_adopted_read_and_removed(cluster: Cluster, namespace: str):
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    path = f"/api/v1/namespaces/{namespace}"
    cluster.request("PATCH", path, label, kind="application/merge-patch+json")
    ref = ModelRef(namespace, "chat")
    async with operating(cluster, namespace) as operator:
        operator.create({"model": {"source": "dummy://tiny"}})
    async with job_gates(cluster) as gates:
        assert await gates.observe(ref) == {}
        await gates.start(order(namespace))
        await gates.start(order(namespace))
    (made,) = jobs(cluster, namespace)
    assert made["metadata"]["ownerReferences"][0]["name"] == "chat"
    async with job_gates(cluster) as again:
        await again.start(order(namespace))
        assert jobs(cluster, namespace)[0]["metadata"]["uid"] == made["metadata"]["uid"]
        pod = pod_of(cluster, namespace)
        assert (await again.observe(ref))[RUN].status is GateStatus.PENDING
        say(cluster, pod, {"running": {"startedAt": "2026-01-01T00:00:00Z"}})
        assert (await again.observe(ref))[RUN].status is GateStatus.RUNNING
        ended = {"exitCode": 0, "message": SUMMARY, "finishedAt": "2026-01-01T00:05:00Z"}
        say(cluster, pod, {"terminated": ended | {"startedAt": "2026-01-01T00:00:00Z"}})
        found = (await again.observe(ref))[RUN]
        assert (found.status, found.figures) == (GateStatus.MEASURED, {"requests": 48.0})
        assert found.finished_at - found.started_at == 300
        await again.stop(ref, RUN)
        await again.stop(ref, RUN)
        assert await again.observe(ref) == {}


@pytest.mark.cluster
async def test_a_model_that_is_gone_gets_no_job(cluster: Cluster, namespace: str):
    async with job_gates(cluster) as gates:
        await gates.start(order(namespace))
    assert jobs(cluster, namespace) == []


def test_a_gates_pod_is_no_replica_and_may_do_nothing():
    made = job(order("default"), "uid", IMAGE)
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert "pagelet.dev/model" not in labels
    assert "pagelet.dev/revision" not in labels
    pod = made["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["args"][:3] == ["gate", "loadTest", "http://10.0.0.7:8000"]
    assert "--key-file=/var/run/pagelet/gateway/key" in pod["containers"][0]["args"]
    assert made["spec"]["backoffLimit"] == 0


def test_a_job_says_which_try_it_is_and_another_s_is_not_read():
    run = replace(RUN, attempt=2)
    made = job(order("default", run), "uid", IMAGE)
    assert read_run(made) == run
    made["metadata"]["annotations"]["pagelet.dev/gate-attempt"] = "3"
    assert read_run(made) is None
    assert read_run({"metadata": {"name": "x"}}) is None
    assert GateKey("chat-0123456789", GateKind.LOAD_TEST, RUN.key.settings) == RUN.key


@pytest.mark.parametrize(
    ("status", "found", "message"),
    [
        ({}, GateStatus.PENDING, ""),
        (
            {
                "containerStatuses": [
                    {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}}
                ]
            },
            GateStatus.PENDING,
            "ImagePullBackOff: no such",
        ),
        (
            {"conditions": [
                {"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}
            ]},
            GateStatus.PENDING,
            "Insufficient cpu",
        ),
        (
            {"containerStatuses": [{"state": {"terminated": {"exitCode": 137}}}]},
            GateStatus.ERROR,
            "left no summary",
        ),
    ],
)  # fmt: skip
def test_what_a_pod_lacks_is_told_and_is_not_the_canarys_fault(status, found, message):
    seen = result({"status": {}}, {"status": status})
    assert seen.status is found
    assert message in seen.message


def test_a_job_whose_pod_could_not_be_made_is_an_error():
    failed = {"type": "Failed", "status": "True", "message": "quota exceeded"}
    seen = result({"status": {"conditions": [failed]}}, None)
    assert (seen.status, seen.message) == (GateStatus.ERROR, "quota exceeded")


@pytest.mark.cluster
async def test_a_report_is_a_config_map_that_goes_with_its_model(cluster: Cluster, namespace: str):
    ref = ModelRef(namespace, "chat")
    kept = Report(revision="chat-1", summary="{}", page="<p>")
    async with job_gates(cluster) as gates:
        with pytest.raises(UnavailableError, match="is gone"):
            await gates.keep(ref, kept)
    async with operating(cluster, namespace) as operator:
        operator.create({"model": {"source": "dummy://tiny"}})
    async with job_gates(cluster) as gates:
        assert await gates.keep(ref, kept) == "configmap/chat-1-loadtest"
        newer = Report(revision="chat-1", summary="{}", page="<b>")
        await gates.keep(ref, newer)
    found = cluster.get(f"/api/v1/namespaces/{namespace}/configmaps/chat-1-loadtest")
    assert found["data"] == {"report.json": "{}", "report.html": "<b>"}
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("ModelDeployment", "chat")

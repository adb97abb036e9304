"""`kubectl pagelet`, and how ModelDeployments read in kubectl, on a real API server."""

import asyncio
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kube_cluster import Cluster
from kube_fixtures import Operator, cluster, namespace, operating
from kube_pods import make_ready
from local_up import Up, resource, write

__all__ = ["cluster", "namespace"]

ROOT = Path(__file__).resolve().parents[2]
ROLLOUT = {"steps": [{"weight": 10, "hold": "1h"}], "analysis": {"metrics": []}}
SPEC: dict[str, Any] = {"model": {"source": "dummy://tiny"}, "rollout": ROLLOUT}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder with the program as an installation makes it."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["kubectl-pagelet"].partition(":")
    program = tmp_path / "bin" / "kubectl-pagelet"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nfrom {module} import {function}\n"
        f"if __name__ == '__main__':\n    {function}()\n"
    )
    program.chmod(0o755)
    return program.parent


def test_the_plugin_asks_the_cluster_whatever_runs_on_this_machine(plugin: Path, tmp_path: Path):
    file = write(tmp_path / "models.yaml", resource())
    state = tmp_path / "state"
    env = {**os.environ, "XDG_STATE_HOME": str(state), "KUBECONFIG": str(tmp_path / "none")}
    with Up(file, state_dir=state / "pagelet" / "up-chat") as up:
        up.wait_for("Serving")
        local = [sys.executable, "-m", "pagelet", "rollout", "status", "chat"]
        assert subprocess.run(local, env=env, check=False).returncode == 0
        asked = subprocess.run(
            [plugin / "kubectl-pagelet", "rollout", "status", "chat"],
            env=env, check=False, capture_output=True, text=True,
        )  # fmt: skip
    assert (asked.returncode, "no cluster is configured" in asked.stderr) == (2, True)


def test_the_plugin_calls_itself_as_people_do(plugin: Path):
    done = subprocess.run(
        [plugin / "kubectl-pagelet", "rollout", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "kubectl pagelet rollout" in done.stdout


@pytest.mark.cluster
async def test_a_rollout_reads_well_in_kubectl(cluster: Cluster, namespace: str, plugin: Path):
    async with operating(cluster, namespace) as operator:
        await _serve(operator)
        waited = operator.cluster.kubectl(
            "-n", namespace, "wait", "--for=condition=Ready", "mdep/chat", "--timeout=60s"
        )
        assert waited == "modeldeployment.pagelet.dev/chat condition met\n"
        operator.change({"engine": {"maxModelLen": 512}})
        canary = str((await operator.turn())["rollout"]["canary"])
        make_ready(cluster, namespace, canary)
        await operator.turn()

        def kubectl(*arguments: str) -> str:
            return cluster.kubectl("-n", namespace, *arguments)

        shown = _columns(kubectl("get", "mdep", "-o", "wide"))
        assert (shown["READY"], shown["CANARY"], shown["WEIGHT"]) == ("True", canary, "10")
        assert shown["SOURCE"] == "dummy://tiny"
        described = kubectl("describe", "mdep", "chat")
        for line in (
            r" +Conditions:",
            rf" +Canary: +{canary}",
            r" +Message: +step 1 of 1: .* has 10 %",
            r"Events:",
            r"  Normal +CanaryReady .* has 10 %",
        ):
            assert re.search(f"^{line}$", described, re.M), described
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        env["PATH"] = f"{plugin}{os.pathsep}{env['PATH']}"
        command = [cluster.bin / "kubectl", "pagelet", "rollout", "status", "chat", "-n", namespace]
        said = await asyncio.to_thread(
            subprocess.run, command, env=env, capture_output=True, text=True, check=True
        )
        assert f"canary   {canary}  10 %" in said.stdout


@pytest.mark.cluster
def test_explain_has_a_text_for_every_field(cluster: Cluster):
    bare = []
    document = cluster.get("/openapi/v3/apis/pagelet.dev/v1alpha1")
    schema = document["components"]["schemas"]["dev.pagelet.v1alpha1.ModelDeployment"]

    def look(part: dict[str, Any], path: str) -> None:
        for name, field in part.get("properties", {}).items():
            at = f"{path}.{name}"
            if not field.get("description"):
                bare.append(at)
            look(field, at)
        for inner in ("items", "additionalProperties"):
            if isinstance(part.get(inner), dict):
                look(part[inner], f"{path}[]")

    look(schema, "mdep")
    assert bare == []
    said = cluster.kubectl("explain", "mdep.spec.rollout.steps.hold")
    assert re.search(r"DESCRIPTION:\n +\w+", said), said


async def _serve(operator: Operator) -> None:
    operator.create(SPEC)
    status = await operator.turn()
    make_ready(operator.cluster, operator.ref.namespace, str(status["rollout"]["canary"]))
    await operator.turn()


def _columns(table: str) -> dict[str, str]:
    """Return the only row's cells by heading; an empty cell is blanks under its heading."""
    head, row = table.splitlines()
    starts = [found.start() for found in re.finditer(r"(?<!\S)\S+( \S+)*", head)]
    ends = [*starts[1:], None]
    return {
        head[start:end].strip(): row[start:end].strip()
        for start, end in zip(starts, ends, strict=True)
    }

"""The operator that cannot run says so in one sentence, and ends with exit code 2."""

import socket
import subprocess
import sys
from pathlib import Path

import kmock
import pytest

import kube_cluster
from pagelet_operator.kube.process import Options, SetupError, run

pytestmark = pytest.mark.kmock(cls=kmock.RawHandler)

GROUP = "/apis/pagelet.dev/v1alpha1"


def options(kubeconfig: Path, port: int = 0) -> Options:
    return Options(
        namespace=None,
        kubeconfig=str(kubeconfig),
        engine_image="x",
        gate_image="x",
        gateway_url="http://gateway/v1",
        gateway_namespace="pagelet-system",
        health_host="127.0.0.1",
        health_port=port,
    )


@pytest.fixture
def kubeconfig(tmp_path: Path, kmock: kmock.RawHandler) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(kube_cluster._kubeconfig(str(kmock.url).rstrip("/"), "token"))
    return path


async def test_a_cluster_without_the_crd_is_said_with_the_command_that_helps(
    kubeconfig: Path, kmock: kmock.RawHandler
) -> None:
    kmock[f"get {GROUP}"] << 404 << {"message": "not found"}
    with pytest.raises(SetupError, match=r"pagelet crd \| kubectl apply"):
        await run(options(kubeconfig))


async def test_an_api_server_that_does_not_answer_is_said(
    kubeconfig: Path, kmock: kmock.RawHandler
) -> None:
    kmock[f"get {GROUP}"] << 503 << {"message": "starting"}
    with pytest.raises(SetupError, match=r"does not answer.*starting"):
        await run(options(kubeconfig))


async def test_a_health_port_that_is_taken_is_said(
    kubeconfig: Path, kmock: kmock.RawHandler
) -> None:
    kmock[f"get {GROUP}"] << {"kind": "APIResourceList"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SetupError, match="give another --health-port"):
            await run(options(kubeconfig, taken.getsockname()[1]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["operator", "--kubeconfig=/nonexistent"], "give --kubeconfig"),
        (["operator", "--namespace=a", "--all-namespaces"], "not both"),
        (["operator", "--lease=operator"], "give NAMESPACE/NAME"),
    ],
)
def test_the_command_ends_with_2_and_one_sentence(arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pagelet", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_crd_prints_the_file_in_the_repository() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pagelet", "crd"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    path = Path(__file__).parents[3] / "manifests" / "crds" / "pagelet.dev_modeldeployments.yaml"
    assert done.stdout in path.read_text("utf-8")
    assert done.stdout.startswith("apiVersion: apiextensions.k8s.io/v1\n")

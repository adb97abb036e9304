import subprocess
import sys

import pytest

from gateway_process import GatewayProcess


def test_importing_the_command_imports_no_server():
    code = (
        "import sys, pagelet_gateway.cli;"
        "heavy = {'aiohttp', 'uvicorn', 'fastapi', 'uvloop', 'prometheus_client', 'torch'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_a_value_that_cannot_work_is_exit_code_two_and_a_sentence(tmp_path):
    command = [sys.executable, "-m", "pagelet", "gateway", "--route-table", str(tmp_path / "t")]
    ended = subprocess.run(
        [*command, "--max-body-bytes", "0"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2
    assert "max_body_bytes is 0; it must be above 0, and finite." in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--config", "t", "--quota-store-failure", "maybe"], "choose one of local, open, closed"),
        (["--config", "t", "--replicas", "2", "--replicas-service", "x"], "give one of them"),
        (["--config", "t", "--kubernetes"], "give one of --config and --kubernetes"),
        (["--kubernetes", "--kubeconfig", "/nonexistent"], "/nonexistent is no file"),
    ],
)
def test_what_cannot_work_is_one_line_and_nothing_else(options, part):
    ended = subprocess.run(
        [sys.executable, "-m", "pagelet", "gateway", "--port", "0", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    (line,) = (ended.stdout + ended.stderr).splitlines()
    assert line.startswith("pagelet gateway: ")
    assert part in line


def test_the_table_has_two_names(tmp_path):
    for name in ("--config", "--route-table"):
        with GatewayProcess(tmp_path, named=name) as gateway:
            gateway.apply()
            assert gateway.stop() == 0

"""A measured server is started, read and ended completely."""

import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import bench_server
from pagelet_bench.core.errors import UnreachableError, UsageError
from pagelet_bench.server_process import started_server, tree_memory

PROGRAM = str(Path(bench_server.__file__).with_name("bench_program.py"))


@pytest.fixture
def log():
    with tempfile.TemporaryFile() as file:
        yield file


def start(log, *options, model=None, timeout_s=60.0):
    command = [sys.executable, PROGRAM, "{port}", *options]
    return started_server(command, model=model, log=log, timeout_s=timeout_s)


def is_running(pid):
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def test_a_server_is_ready_when_it_has_answered_and_its_start_is_timed(log):
    async with start(log, "delay=0.5") as server:
        assert server.endpoint.model == "m"
        assert 0.5 <= server.first_token_s < 60


async def test_memory_is_read_of_the_whole_tree(log):
    async with start(log) as server:
        tree = tree_memory(server.pid)
    assert [process.name for process in tree][1:] == ["sh", "sleep"]
    for process in tree:
        assert 0 < process.pss_bytes <= process.rss_bytes <= process.peak_rss_bytes


async def test_ending_takes_the_children_along(log):
    async with start(log) as server:
        child = os.pidfd_open(int(os.pread(log.fileno(), 20, 0)))
    assert not is_running(server.pid)
    has_ended, _, _ = select.select([child], [], [], 60)
    os.close(child)
    assert has_ended


async def test_a_failure_while_measuring_ends_the_server_too(log):
    with pytest.raises(ZeroDivisionError):
        async with start(log) as server:
            raise ZeroDivisionError
    assert not is_running(server.pid)


async def test_a_server_that_exits_is_told_with_its_code(log):
    with pytest.raises(UnreachableError, match="exited with 3"):
        async with start(log, "exit=3"):
            pass


async def test_a_server_that_never_answers_is_given_up(log):
    with pytest.raises(UnreachableError, match=r"no answer in 0\.2 s"):
        async with start(log, "delay=60", timeout_s=0.2):
            pass


async def test_a_model_it_does_not_serve_is_no_reason_to_wait(log):
    with pytest.raises(UsageError, match="does not serve 'other'"):
        async with start(log, model="other"):
            pass


async def test_a_program_that_does_not_exist_is_named(log):
    with pytest.raises(UnreachableError, match="/no/such/program cannot be started"):
        async with started_server(["/no/such/program"], model=None, log=log, timeout_s=1):
            pass


def test_a_process_that_has_ended_has_no_memory():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert tree_memory(process.pid) == []

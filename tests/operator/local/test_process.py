import asyncio
import os
import signal
import sys

import pytest

from local_processes import is_alive, until, until_sync
from pagelet_operator.local import process as module
from pagelet_operator.local.process import Command, Process


def python(code, **env):
    return Command((sys.executable, "-S", "-c", code), {**os.environ, **env})


async def finish(code, log):
    process = await Process.start(python(code), log)
    return await process.wait(), process


async def test_the_exit_code_and_the_output_are_kept(tmp_path):
    log = tmp_path / "deep" / "a.log"
    code, process = await finish("print('hello'); raise SystemExit(7)", log)
    assert (code, log.read_text()) == (7, "hello\n")
    assert not is_alive(process.pid)


async def test_a_signal_is_a_negative_exit_code(tmp_path):
    code, _ = await finish("import os; os.kill(os.getpid(), 9)", tmp_path / "a.log")
    assert code == -9


async def test_the_last_words_are_the_last_line_for_people_of_this_run(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("words of an earlier run\n")
    said = r"print('first'); print('pagelet serve: port 1 is taken'); print('{\"event\": 1}\n\n')"
    _, process = await finish(said, log)
    assert process.last_words() == "port 1 is taken"
    _, silent = await finish("pass", log)
    assert silent.last_words() == ""


async def test_a_long_log_is_set_aside_when_the_process_starts_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT_LOG_BYTES", 10)
    log = tmp_path / "a.log"
    log.write_text("more than ten bytes\n")
    await finish("print('new')", log)
    assert log.read_text() == "new\n"
    assert (tmp_path / "a.log.1").read_text() == "more than ten bytes\n"


async def test_it_lives_in_a_session_of_its_own(tmp_path):
    log = tmp_path / "a.log"
    _, process = await finish("import os; print(os.getsid(0), os.getpgid(0))", log)
    assert log.read_text().split() == [str(process.pid)] * 2


async def test_it_is_asked_to_end_only_once(tmp_path):
    code = (
        "import signal, sys, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: seen.append(1))\n"
        "print('up', flush=True)\n"
        "while not seen: time.sleep(0.01)\n"
        "time.sleep(0.3); sys.exit(10 + len(seen))"
    )
    process = await Process.start(python(code), tmp_path / "a.log")
    await until(lambda: "up" in (tmp_path / "a.log").read_text())
    process.terminate()
    await asyncio.sleep(0.1)
    process.terminate()
    assert await process.wait() == 11


async def test_its_own_children_end_with_it(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(c.pid, flush=True); time.sleep({})"
    )
    log = tmp_path / "a.log"
    for seconds, kill in (("600", True), ("0", False)):
        log.write_text("")
        process = await Process.start(python(code.format(seconds)), log)
        grandchild = int(await until(lambda: log.read_text().strip()))
        if kill:
            assert is_alive(grandchild)
            process.kill()
        await process.wait()
        until_sync(lambda pid=grandchild: not is_alive(pid))


async def test_killing_what_has_ended_does_nothing(tmp_path):
    code, process = await finish("pass", tmp_path / "a.log")
    process.kill()
    process.terminate()
    assert await process.wait() == code == 0


async def test_a_log_that_cannot_be_opened_starts_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"exist|directory"):
        await Process.start(python("pass"), tmp_path / "file" / "a.log")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
async def test_it_dies_with_a_supervisor_that_is_killed(tmp_path):
    log = tmp_path / "a.log"
    supervisor = (
        "import asyncio, os, pathlib, sys\n"
        "from pagelet_operator.local.process import Command, Process\n"
        "async def main():\n"
        "    cmd = Command((sys.executable, '-c', 'import time; time.sleep(600)'), os.environ)\n"
        "    p = await Process.start(cmd, pathlib.Path(sys.argv[1]))\n"
        "    print(p.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", supervisor, str(log), stdout=asyncio.subprocess.PIPE
    )
    child = int(await parent.stdout.readline())
    assert is_alive(child)
    parent.send_signal(signal.SIGKILL)
    await parent.communicate()
    await until(lambda: not is_alive(child))

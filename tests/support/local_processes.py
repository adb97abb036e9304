"""Who is alive on this machine, for tests that must leave nobody behind."""

import asyncio
import os
import sys
import time
from pathlib import Path

ENGINE = str(Path(__file__).with_name("local_engine.py"))


def engine_args(port):
    return (sys.executable, "-S", ENGINE, str(port))


def scripted_engine(spec, name, port, drain_s):
    """An `EngineCommand` that runs the scripted engine; its script is the pod's env SCRIPT."""
    return engine_args(port)


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def marked(mark):
    """Every live process with `mark` in its environment, this one excepted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in environ and is_alive(int(entry.name)):
                found.append(int(entry.name))
    return sorted(found)


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


async def until(claim, *, within_s=20.0, what=""):
    """Wait until `claim()` is true and return its value; fail after a generous time."""
    deadline = time.monotonic() + within_s
    while not (value := claim()):
        assert time.monotonic() < deadline, what or "it never became true"
        await asyncio.sleep(0.02)
    return value


def until_sync(claim, *, within_s=20.0, what=""):
    deadline = time.monotonic() + within_s
    while not (value := claim()):
        assert time.monotonic() < deadline, what() if callable(what) else what or "never true"
        time.sleep(0.02)
    return value

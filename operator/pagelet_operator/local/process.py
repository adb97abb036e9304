"""One child process: started in a session of its own, logged to a file, ended for certain.

Its own session keeps a terminal's Ctrl-C away from it, so that only the supervisor decides the
order in which things end, and lets one signal reach whatever the child has started itself.
Output goes straight to the file: no pipe that could fill up and hang the child.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pagelet_operator.local import child

KEPT_LOG_BYTES = 10 * 1024 * 1024
"""A log larger than this is set aside as `.1` when its process starts again."""

_LAST_WORDS_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the program with its arguments, and its whole environment."""

    args: tuple[str, ...]
    env: Mapping[str, str]


class Process:
    """A running child and what it started. Make one with `Process.start`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, log_start: int) -> None:
        self._process = process
        self._log = log
        self._log_start = log_start
        self._asked_to_end = False

    @classmethod
    async def start(cls, command: Command, log: Path) -> "Process":
        """Start a child whose output is appended to `log`.

        Call it on the main thread: the kernel ends the child with the thread that made it.

        Raises:
            OSError: The program or the log file cannot be opened, or there is no room for a
                process.
        """
        fd, log_start = _open_log(log)
        try:
            process = await asyncio.create_subprocess_exec(
                *_tied_to_us(command.args),
                env=dict(command.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=fd,
                stderr=fd,
                start_new_session=True,
            )
        finally:
            os.close(fd)
        return cls(process, log, log_start)

    @property
    def pid(self) -> int:
        """The child's process id, which is its session's and its group's as well."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit code, or minus the signal, once the child and its group are gone."""
        code = await self._process.wait()
        self._signal_group(signal.SIGKILL)  # what it started and did not end itself
        return code

    def terminate(self) -> None:
        """Ask the child to finish what it has begun and end; asking again changes nothing.

        A second SIGTERM means "at once" to engine and gateway, so there is only one.
        """
        if not self._asked_to_end and self._process.returncode is None:
            self._asked_to_end = True
            self._process.terminate()

    def kill(self) -> None:
        """End the child and what it started, now."""
        if self._process.returncode is None:
            self._signal_group(signal.SIGKILL)

    def last_words(self) -> str:
        """Return the last line it wrote for people, without its name; empty if there is none."""
        lines = _tail(self._log, self._log_start).splitlines()
        # Log records are JSON objects when the output is no terminal; they are for machines.
        spoken = [line.strip() for line in lines if line.strip() and not line.startswith("{")]
        return re.sub(r"^pagelet \w+: ", "", spoken[-1]) if spoken else ""

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # nobody left; macOS says it with EPERM


def _tied_to_us(args: Sequence[str]) -> list[str]:
    # -I -S: no site-packages and nothing from the current folder, so this takes milliseconds.
    return [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *args]


def _open_log(log: Path) -> tuple[int, int]:
    """Return a descriptor to append with, and where the new process' part begins."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > KEPT_LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return fd, os.fstat(fd).st_size


def _tail(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start, end - _LAST_WORDS_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""

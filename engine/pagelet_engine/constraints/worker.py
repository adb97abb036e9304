"""The constraint worker: holds the vocabulary and forks a matcher process per constraint.

    python -m pagelet_engine.constraints.worker --fd N

`N` is one end of a UNIX socket pair, inherited from the API process. The first message is the
`Vocabulary`; then come `Compile` and `Discard`, and go `Compiled`. The worker itself never reads
what is in a constraint, so nothing a client sends can end it. When the peer closes, it kills its
matcher processes and ends. SIGINT and SIGTERM are ignored: the API process decides.
"""

import argparse
import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from dataclasses import dataclass

from llguidance import LLTokenizer

from pagelet_engine.constraints.matcher import build_tokenizer, serve
from pagelet_engine.constraints.messages import (
    Compile,
    Compiled,
    Discard,
    Vocabulary,
    decode_command,
    encode,
)
from pagelet_engine.constraints.spec import COMPILE_LIMIT_S
from pagelet_engine.framing import read_frame

_MAX_REPORT_BYTES = 4096
_REAP_EVERY_S = 5.0
TOO_SLOW = f"it takes longer than {COMPILE_LIMIT_S:g} s to compile; make it simpler."
TOO_BIG = "it takes too much memory to compile; make it simpler."


@dataclass(slots=True)
class _Child:
    pid: int
    constraint_id: int
    report: int
    """Read end of a pipe; -1 once the outcome of the compilation is known."""


class Worker:
    """Serves one API process. Single-threaded, so that forking is safe."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._children: dict[int, _Child] = {}
        self._tokenizer: LLTokenizer | None = None

    def run(self) -> None:
        """Obey until the peer closes."""
        try:
            while self._serve_once():
                self._reap()
        finally:
            for constraint_id in list(self._children):
                self._discard(constraint_id)

    def _serve_once(self) -> bool:
        reports = {child.report: child for child in self._children.values() if child.report >= 0}
        from_peer = self._connection.fileno()
        ready, _, _ = select.select([from_peer, *reports], [], [], _REAP_EVERY_S)
        for item in ready:
            if item in reports:
                self._pass_on(reports[item])
        if from_peer not in ready:
            return True
        frame = read_frame(self._connection)
        if frame is None:
            return False
        match decode_command(frame):
            case Vocabulary() as vocabulary:
                self._tokenizer = build_tokenizer(vocabulary)
            case Compile() as command:
                self._start(command)
            case Discard(constraint_id):
                self._discard(constraint_id)
        return True

    def _start(self, command: Compile) -> None:
        assert self._tokenizer is not None, "the vocabulary comes first"
        report, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_matcher(command, self._tokenizer, theirs)
        os.close(theirs)
        self._children[command.constraint_id] = _Child(pid, command.constraint_id, report)

    def _become_matcher(self, command: Compile, tokenizer: LLTokenizer, report: int) -> None:
        """Never returns; what the worker holds open is closed, so that its end is noticed."""
        try:
            self._connection.close()
            serve(tokenizer, command, report)
        except BaseException as error:  # noqa: BLE001 - a fork must not run on in our frames
            # No message: it may repeat what the client sent.
            traceback.print_tb(error.__traceback__)
            print(type(error).__name__, file=sys.stderr)
        finally:
            os._exit(0)

    def _pass_on(self, child: _Child) -> None:
        """Tell the API process how a compilation ended."""
        text = os.read(child.report, _MAX_REPORT_BYTES).decode(errors="replace")
        os.close(child.report)
        child.report = -1
        error: str | None = None
        if text != "ok":
            error = text or _cause_of_death(child.pid)
            self._children.pop(child.constraint_id, None)
            if text:
                _kill(child.pid)
        self._connection.sendall(encode(Compiled(child.constraint_id, error)))

    def _discard(self, constraint_id: int) -> None:
        child = self._children.pop(constraint_id, None)
        if child is None:
            return
        if child.report >= 0:
            os.close(child.report)
        _kill(child.pid)

    def _reap(self) -> None:
        for child in list(self._children.values()):
            # One whose report is open is waited for when its outcome is read.
            if child.report < 0 and os.waitpid(child.pid, os.WNOHANG)[0]:
                del self._children[child.constraint_id]


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _cause_of_death(pid: int) -> str:
    _, status = os.waitpid(pid, 0)
    return TOO_SLOW if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else TOO_BIG


def main(arguments: list[str] | None = None) -> int:
    """Serve until the peer closes; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(description="Compiles constraints and matches tokens.")
    parser.add_argument("--fd", type=int, required=True, help="inherited socket")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Worker(socket.socket(fileno=parser.parse_args(arguments).fd)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The API process's side of constraints: starts the worker when first needed, asks it to compile.

A worker that dies fails the compilations under way with a 503 and is started anew by the next
request; sequences whose matchers run already are not touched. Everything here belongs to one event
loop.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pagelet_engine.constraints.messages import (
    Command,
    Compile,
    Compiled,
    Discard,
    Vocabulary,
    decode_compiled,
    encode,
)
from pagelet_engine.constraints.spec import COMPILE_LIMIT_S, Constraint
from pagelet_engine.errors import InvalidRequestError, ProtocolError, UnavailableError
from pagelet_engine.framing import HEADER_BYTES, frame_length

MAX_COMPILING = 4
"""Compilations at a time; others wait. Each may use a core for its whole time limit."""
MAX_OPEN = 256
"""Most matcher processes; each takes some megabytes."""
OUTCOMES = ("compiled", "refused", "unavailable")
"""How a compilation may end: the second is the client's fault, the third nobody's."""
_ANSWER_PATIENCE_S = COMPILE_LIMIT_S + 10.0
"""Above the worker's own limit: only a worker that hangs is not heard of by then."""
_WORKER = (sys.executable, "-m", "pagelet_engine.constraints.worker")
_GONE = "The process that compiles constraints has ended; send the request again."


@dataclass(frozen=True, slots=True)
class CompiledConstraint:
    """A matcher process that waits for its sequences."""

    address: str
    """Where the engine process connects."""
    close: Callable[[], None]
    """Ends the matcher process; to be called when the request ends, however it does."""


class ConstraintClient:
    """Owns the worker process."""

    def __init__(
        self,
        vocabulary: Callable[[], Vocabulary],
        worker: Sequence[str] = _WORKER,
        on_compiled: Callable[[str, float], None] = lambda outcome, seconds: None,
    ):
        """Prepare; the first `compile` starts the worker.

        Args:
            vocabulary: Called in a thread, once per worker.
            worker: Its command; `--fd N` is appended.
            on_compiled: Told how each compilation ended, one of OUTCOMES, and after how many
                seconds, those in the queue included.
        """
        self.num_workers = 0
        """Worker processes started so far; each after the first takes the place of a dead one."""
        self._on_compiled = on_compiled
        self._vocabulary = vocabulary
        self._command = tuple(worker)
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Compiled]] = {}
        self._compiling = asyncio.Semaphore(MAX_COMPILING)
        self._starting = asyncio.Lock()
        self._num_open = 0
        self._link: _Link | None = None
        self._folder: str | None = None

    @property
    def num_open(self) -> int:
        """Constraints in use or being compiled."""
        return self._num_open

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker; None while none runs."""
        return None if self._link is None else self._link.process.pid

    async def compile(
        self, constraint: Constraint, *, num_sequences: int, param: str
    ) -> CompiledConstraint:
        """Start a matcher process for the sequences of one request.

        Args:
            constraint: Within the caps.
            num_sequences: How many sequences will follow it.
            param: The request's field, for the error.

        Raises:
            InvalidRequestError: It cannot be compiled, or takes too much time or memory.
            UnavailableError: The worker died, or has too many constraints already.
        """
        if self._num_open >= MAX_OPEN:
            raise UnavailableError(f"{MAX_OPEN} constrained requests are in flight; try later.")
        self._num_open += 1
        constraint_id = next(self._ids)
        started, outcome = time.monotonic(), ""
        try:
            async with self._compiling:
                address = await self._ask(constraint_id, constraint, num_sequences, param)
            outcome = "compiled"
        except BaseException as error:
            if isinstance(error, InvalidRequestError | UnavailableError):
                outcome = "refused" if isinstance(error, InvalidRequestError) else "unavailable"
            self._discard(constraint_id)
            raise
        finally:
            if outcome:  # else the client left
                self._on_compiled(outcome, time.monotonic() - started)
        return CompiledConstraint(address, lambda: self._discard(constraint_id))

    async def stop(self) -> None:
        """End the worker, with every matcher process."""
        if self._link is not None:
            await self._link.close()
            self._link = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _ask(
        self, constraint_id: int, constraint: Constraint, num_sequences: int, param: str
    ) -> str:
        link = await self._running()
        assert self._folder is not None, "made before the worker starts"
        address = os.path.join(self._folder, str(constraint_id))
        answer = asyncio.get_running_loop().create_future()
        self._pending[constraint_id] = answer
        try:
            link.send(Compile(constraint_id, constraint, address, num_sequences))
            async with asyncio.timeout(_ANSWER_PATIENCE_S):
                compiled: Compiled = await answer
        except TimeoutError:
            await link.close()
            raise UnavailableError(_GONE) from None
        finally:
            self._pending.pop(constraint_id, None)
        if compiled.error is not None:
            raise InvalidRequestError(f"{param} cannot be used: {compiled.error}", param=param)
        return address

    def _discard(self, constraint_id: int) -> None:
        self._num_open -= 1
        if self._link is not None:
            self._link.send(Discard(constraint_id))
        if self._folder is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._folder, str(constraint_id)))

    async def _running(self) -> "_Link":
        async with self._starting:
            if self._link is None or self._link.is_closed:
                vocabulary = await asyncio.to_thread(self._vocabulary)
                if self._folder is None:
                    self._folder = tempfile.mkdtemp(prefix="pagelet-")
                self._link = await _Link.start(self._command, self._take, self._fail_pending)
                self.num_workers += 1
                self._link.send(vocabulary)
            return self._link

    def _take(self, compiled: Compiled) -> None:
        answer = self._pending.get(compiled.constraint_id)
        if answer is not None and not answer.done():
            answer.set_result(compiled)

    def _fail_pending(self) -> None:
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(UnavailableError(_GONE))


class _Link:
    """A running worker and the connection to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.process = process
        self.is_closed = False
        self._writer = writer
        self._reading: asyncio.Task[None]

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        on_compiled: Callable[[Compiled], None],
        on_end: Callable[[], None],
    ) -> "_Link":
        """Start a worker process.

        Raises:
            UnavailableError: That is not possible now.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    "--fd",
                    str(theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C must not end it while streams drain
                )
            except OSError as error:
                ours.close()
                raise UnavailableError(_GONE) from error
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        link = cls(process, writer)
        link._reading = asyncio.create_task(link._read(reader, on_compiled, on_end))
        return link

    def send(self, command: Command) -> None:
        """Send a command; nothing happens if the worker is gone."""
        if not self.is_closed:
            self._writer.write(encode(command))

    async def close(self) -> None:
        """End the worker, which takes its matcher processes along."""
        self._writer.close()
        await self._reading

    async def _read(
        self,
        reader: asyncio.StreamReader,
        on_compiled: Callable[[Compiled], None],
        on_end: Callable[[], None],
    ) -> None:
        try:
            while True:
                header = await reader.readexactly(HEADER_BYTES)
                on_compiled(decode_compiled(await reader.readexactly(frame_length(header))))
        except (asyncio.IncompleteReadError, ConnectionError, ProtocolError):
            pass
        finally:
            self.is_closed = True
            self._writer.close()
            on_end()
            await self._end_process()

    async def _end_process(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                await self.process.wait()
                return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()

"""The API process's side of the template worker: starts it, asks it, replaces it when it died.

One conversation is with the worker at a time; others wait their turn. A conversation that ends the
worker is refused, and the next one finds a new worker. Everything here belongs to one event loop.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_engine.errors import InvalidRequestError, UnavailableError
from pagelet_engine.framing import HEADER_BYTES, frame_length
from pagelet_engine.templates.wire import decode_answer, encode_template
from pagelet_engine.templates.worker import EXIT_MEMORY, RENDER_LIMIT_S, TIME_IS_UP
from pagelet_engine.text.chat_template import ChatTemplate

WALL_LIMIT_S = 20.0
"""Longest wait for an answer, seconds: far above the worker's processor time, so that only one
that stands still is not heard of by then."""
_EXIT_GRACE_S = 2.0
_WORKER = (sys.executable, "-m", "pagelet_engine.templates.worker")
_TOO_SLOW = (
    f"The model's chat template takes longer than {RENDER_LIMIT_S:g} s on these messages; send "
    f"fewer or shorter ones."
)
_TOO_BIG = "The model's chat template takes too much memory on these messages; send fewer."
_GONE = "The process that renders chat templates has ended; send the request again."


@dataclass(frozen=True, slots=True)
class _Link:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None and not self.reader.at_eof()


class TemplateClient:
    """Owns the worker of one template."""

    def __init__(self, template: ChatTemplate, worker: Sequence[str] = _WORKER) -> None:
        """Prepare; `start` or the first `render` starts the worker.

        Args:
            template: The model's.
            worker: The process's command; `--fd N` is appended.
        """
        self.num_workers = 0
        """Worker processes started so far; each after the first takes the place of a dead one."""
        self._template = template
        self._command = tuple(worker)
        self._turn = asyncio.Lock()
        self._link: _Link | None = None
        self._asking: set[asyncio.Task[str]] = set()
        self._is_stopped = False

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker; None while none runs."""
        return None if self._link is None else self._link.process.pid

    async def start(self) -> None:
        """Start the worker ahead of the first conversation.

        Raises:
            UnavailableError: That is not possible now.
        """
        async with self._turn:
            await self._running()

    async def render(self, conversation: bytes) -> str:
        """Return the text of a conversation, a frame that `wire.encode_conversation` made.

        Raises:
            InvalidRequestError: The template refuses it, or takes too much time or memory on it.
            UnavailableError: The worker died for another reason.
        """
        # In a task of its own: whoever asks may leave, but then the answer must still be read, or
        # the next one would get it.
        task = asyncio.create_task(self._ask(conversation))
        self._asking.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """End the worker for good; conversations that wait are refused with a 503."""
        self._is_stopped = True
        if self._link is not None:
            self._kill(self._link)
        async with self._turn:
            await self._end()

    def _forget(self, task: asyncio.Task[str]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: nobody may be waiting for it

    async def _ask(self, conversation: bytes) -> str:
        async with self._turn:
            link = await self._running()
            try:
                async with asyncio.timeout(WALL_LIMIT_S):
                    link.writer.write(conversation)
                    header = await link.reader.readexactly(HEADER_BYTES)
                    answer = await link.reader.readexactly(frame_length(header))
            except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
                raise await self._cause(error) from None
        return decode_answer(answer)

    async def _cause(self, error: Exception) -> Exception:
        """End the worker and return what to tell whoever asked."""
        exit_code = await self._end()
        if isinstance(error, TimeoutError) or exit_code == -TIME_IS_UP:
            return InvalidRequestError(_TOO_SLOW, param="messages")
        if exit_code == EXIT_MEMORY:
            return InvalidRequestError(_TOO_BIG, param="messages")
        return UnavailableError(_GONE)

    async def _running(self) -> _Link:
        if self._link is not None and not self._link.is_alive:
            await self._end()
        if self._is_stopped:
            raise UnavailableError(_GONE)
        if self._link is None:
            self._link = await self._start_worker()
            self._link.writer.write(encode_template(self._template))
            self.num_workers += 1
        return self._link

    async def _start_worker(self) -> _Link:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    "--fd",
                    str(theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C must not end it while requests finish
                )
            except OSError as error:
                ours.close()
                raise UnavailableError(_GONE) from error
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return _Link(process, reader, writer)

    async def _end(self) -> int | None:
        """Make sure that no worker runs; return the last one's exit code."""
        link, self._link = self._link, None
        if link is None:
            return None
        link.writer.close()
        with contextlib.suppress(ConnectionError):
            await link.writer.wait_closed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_GRACE_S):
                return await link.process.wait()
        self._kill(link)
        return await link.process.wait()

    def _kill(self, link: _Link) -> None:
        if link.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Not Popen's kill: it may reap the process, and the exit code would be lost.
                os.kill(link.process.pid, signal.SIGKILL)

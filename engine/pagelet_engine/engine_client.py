"""The API process's side of the engine process: starts it, talks to it, notices its end.

One socket pair, one reader task. `submit` gives a `Generation`, an async iterator over one
sequence's tokens. When the engine process ends, for whatever reason, every open generation raises
EngineDeadError at once; none of them ever looks finished. Neither process outlives the other: the
engine exits when its socket closes, and `stop` kills what does not.

Everything here belongs to one event loop.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import msgspec

from pagelet_engine.config import EngineConfig
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.errors import ConfigError, EngineDeadError, EngineError, ProtocolError
from pagelet_engine.framing import HEADER_BYTES, decode_event, encode, frame_length
from pagelet_engine.generation import Generation
from pagelet_engine.messages import (
    Abort,
    Command,
    EngineStats,
    Event,
    Fatal,
    Hold,
    Ready,
    Stage,
    Stepped,
    Submit,
    TokenOutput,
)
from pagelet_engine.terms import Terms

_EXIT_GRACE_S = 2.0
MAX_UNREAD_BYTES = 16 * 1024
"""Of one request's output, before its sequences are held back: 256 tokens, or 6 with 20
log-probabilities each. Enough for a reader that is late by a few seconds."""
_NO_TERMS = Terms()


def engine_command(config: EngineConfig) -> list[str]:
    """Return the command that starts the real engine process; `--fd N` is appended to it."""
    encoded = msgspec.json.encode(config).decode()
    return [sys.executable, "-m", "pagelet_engine.process", "--config", encoded]


class EngineClient:
    """Owns the engine process."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        on_stage: Callable[[str], None] = lambda stage: None,
        on_step: Callable[[Stepped], None] = lambda stepped: None,
    ) -> None:
        """Prepare; `start` does the work.

        Args:
            command: Program and arguments; `--fd N` is appended, N an inherited socket.
            on_stage: Called with each start-up stage's name.
            on_step: Called for each engine step and heartbeat, before the outputs are delivered.
        """
        self._command = tuple(command)
        self._on_stage = on_stage
        self._on_step = on_step
        self._generations: dict[int, Generation] = {}
        self._next_id = itertools.count(1)
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self._dead: asyncio.Future[EngineError] = asyncio.get_running_loop().create_future()
        self._fatal: Fatal | None = None
        self._stopping = False
        self._is_gone = False
        self._last_event_s = 0.0
        self.stage = "starting"
        """What the engine process is doing while it starts; "ready" afterwards."""
        self.stats = EngineStats()
        """The engine's latest counters and gauges."""

    @property
    def num_open(self) -> int:
        """Sequences submitted and not ended."""
        return len(self._generations)

    @property
    def pid(self) -> int:
        """Process id of the engine process."""
        return self._process.pid

    @property
    def is_dead(self) -> bool:
        """Whether the engine process has ended or its connection has."""
        return self._is_gone

    @property
    def limits(self) -> Ready | None:
        """What `Ready` said; None before."""
        return self._ready.result() if self._is_ready() else None

    def silence_s(self) -> float:
        """Return the seconds since the engine process last said anything."""
        return asyncio.get_running_loop().time() - self._last_event_s

    async def start(self) -> None:
        """Start the engine process.

        Raises:
            ConfigError: The program cannot be run at all.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # A session of its own: Ctrl-C and `timeout` signal a whole group, and the
                # engine must go on while the API process drains.
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    "--fd",
                    str(theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise ConfigError(f"{self._command[0]} cannot be run: {error}.") from error
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._last_event_s = asyncio.get_running_loop().time()
        self._reader_task = asyncio.create_task(self._read_until_the_end(reader))

    async def wait_ready(self) -> Ready:
        """Wait until the engine accepts sequences.

        Raises:
            ConfigError: The engine cannot start as configured; the sentence is for the user.
            EngineDeadError: It died while starting.
        """
        return await asyncio.shield(self._ready)

    async def wait_dead(self) -> EngineError:
        """Wait until the engine process has ended, and return why."""
        return await asyncio.shield(self._dead)

    def submit(
        self,
        prompt_token_ids: list[int],
        sampling: SamplingParams,
        *,
        constraint: str | None = None,
        terms: Terms = _NO_TERMS,
        max_unread_bytes: int = MAX_UNREAD_BYTES,
    ) -> Generation:
        """Generate one sequence; prompt and parameters have been checked against `limits`.

        Args:
            prompt_token_ids: At least one.
            sampling: How to draw.
            constraint: Address of the process that says which tokens may come.
            terms: On whose account, and until when.
            max_unread_bytes: Beyond it the sequence is held back until it is read.

        Raises:
            EngineDeadError: The engine process is gone.
        """
        if self._is_gone:
            raise EngineDeadError("The engine process has ended; this server is about to exit.")
        seq_id = next(self._next_id)
        generation = Generation(seq_id, self._abort, self._hold, max_unread_bytes)
        self._generations[seq_id] = generation
        self._send(
            Submit(
                seq_id,
                prompt_token_ids,
                sampling,
                cache_salt=terms.cache_salt,
                tenant=terms.tenant,
                weight=terms.weight,
                priority=terms.priority,
                deadline_s=terms.deadline_s,
                constraint=constraint,
            )
        )
        return generation

    def fail_all(self, error: EngineError) -> None:
        """End every open generation with `error`."""
        for seq_id in list(self._generations):
            self._generations.pop(seq_id).fail(error)
            self._send(Abort(seq_id))

    def kill(self) -> None:
        """End the engine process at once, even a stopped one; streams hear of it as usual."""
        if not self._is_gone:
            # Not Popen's kill: it may reap the process, and the exit code would be lost.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def stop(self) -> None:
        """End the engine process: ask by closing the socket, kill what lingers."""
        self._stopping = True
        self._writer.close()
        await self._end_process()
        await self._reader_task

    def _abort(self, seq_id: int) -> None:
        if self._generations.pop(seq_id, None) is not None:
            self._send(Abort(seq_id))

    def _hold(self, seq_id: int, is_held: bool) -> None:
        if seq_id in self._generations:
            self._send(Hold(seq_id, is_held))

    def _send(self, command: Command) -> None:
        if not self._is_gone:
            self._writer.write(encode(command))

    async def _read_until_the_end(self, reader: asyncio.StreamReader) -> None:
        last_words = "The engine process closed its connection."
        try:
            while True:
                header = await reader.readexactly(HEADER_BYTES)
                self._take(decode_event(await reader.readexactly(frame_length(header))))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except ProtocolError as error:
            last_words = str(error)
        finally:
            self._writer.close()
            await self._die(last_words)

    def _take(self, event: Event) -> None:
        self._last_event_s = asyncio.get_running_loop().time()
        match event:
            case Stepped():
                self.stats = event.stats
                self._on_step(event)
                for output in event.outputs:
                    self._deliver(output)
            case Stage():
                self.stage = event.name
                self._on_stage(event.name)
            case Ready():
                self.stage = "ready"
                self._ready.set_result(event)
            case Fatal():
                self._fatal = event

    def _deliver(self, output: TokenOutput) -> None:
        generation = self._generations.get(output.seq_id)
        if generation is None:
            return  # aborted while the step ran
        if output.finish_reason is not None:
            del self._generations[output.seq_id]
        generation.feed(output)

    async def _die(self, last_words: str) -> None:
        # Clients hear of it at once; how it ended can take a moment to learn.
        self._is_gone = True
        waiting, self._generations = self._generations, {}
        for generation in waiting.values():
            generation.fail(EngineDeadError("The engine process ended; the output is incomplete."))
        exit_code = await self._end_process()
        error = self._cause(last_words, exit_code)
        self._dead.set_result(error)
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # marks it as seen: nobody may be waiting for it

    async def _end_process(self) -> int:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_GRACE_S):
                return await self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            # Not Popen's kill: it may reap the process, and the exit code would be lost.
            os.kill(self._process.pid, signal.SIGKILL)
        return await self._process.wait()

    def _cause(self, last_words: str, exit_code: int) -> EngineError:
        if self._fatal is not None:
            kind = ConfigError if self._fatal.config else EngineDeadError
            return kind(self._fatal.message)
        if self._stopping:
            return EngineDeadError("The engine process was stopped.")
        if exit_code < 0:
            return EngineDeadError(
                f"The engine process was killed by {signal.Signals(-exit_code).name}."
            )
        return EngineDeadError(f"{last_words} It exited with code {exit_code}.")

    def _is_ready(self) -> bool:
        return (
            self._ready.done() and not self._ready.cancelled() and self._ready.exception() is None
        )

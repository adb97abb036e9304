"""A child process that should run, kept running: started, probed, restarted, ended.

    starting ──ready──► ready ──says no, or silent──► starting
        │                 │
        └───── exit ──────┴──► waits 1, 2, 4 … 60 s ──► starting, on a new port
        │
        └─ exit 2 before it was ever ready ──► failed, for good

One task drives each service; its properties may be read at any time from the same loop.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pagelet_operator.local.free_port import free_port, is_free
from pagelet_operator.local.probe import Answer, Probe
from pagelet_operator.local.process import Command, Process

HOST = "127.0.0.1"
"""Where children on a port of our choice listen."""

PROBE_INTERVAL_S = 0.25
SILENT_PROBES = 3
"""Probes without an answer in a row before a ready child counts as not ready. One is noise on
a busy machine, and a false alarm takes its traffic away."""

EXIT_CONFIG = 2
"""The exit code of engine and gateway when they cannot start as configured."""

LONGEST_RESTART_DELAY_S = 60.0
STEADY_S = 60.0
"""Ready for this long, a child's earlier exits are forgotten."""


KILL_MARGIN_S = 5.0
"""How much longer than its own drain a child may take to end: it tells clients why first."""


def restart_delay_s(exits: int) -> float:
    """Return the wait before the next start after `exits` exits in a row: 1, 2, 4 … 60 s."""
    # The bound on the exponent keeps a child that crashes for days from an overflow.
    return min(LONGEST_RESTART_DELAY_S, 2.0 ** min(max(0, exits - 1), 10))


Listener = Callable[[str, str], None]
"""Told of each change as a CamelCase reason and a sentence."""


class Service:
    """One child process and its restarts.

    Args:
        name: What events call it.
        command: What to run, given the port it must listen on.
        probe: How to ask whether it is ready.
        probe_path: Path that answers 2xx when it is.
        log: File that its output is appended to.
        listener: Told of each change.
        host: Where it listens, as a URL writes it.
        port: The port it must have; None for a free one at each start.
        restart_delay: Seconds to wait after so many exits in a row.

    Attributes:
        name: As above.
        failure: Why it can never become ready as configured, or None.
        restarts: How often the child was started again.
        exit_code: How the child last ended (minus the signal), or None.
    """

    def __init__(
        self,
        name: str,
        *,
        command: Callable[[int], Command],
        probe: Probe,
        probe_path: str,
        log: Path,
        listener: Listener,
        host: str = HOST,
        port: int | None = None,
        restart_delay: Callable[[int], float] = restart_delay_s,
    ) -> None:
        self.name = name
        self.failure: str | None = None
        self.restarts = 0
        self.exit_code: int | None = None
        self._command = command
        self._probe = probe
        self._probe_path = probe_path
        self._log = log
        self._listener = listener
        self._host = host
        self._fixed_port = port
        self._restart_delay = restart_delay
        self._process: Process | None = None
        self._url: str | None = None
        self._ever_ready = False
        self._exits = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> str | None:
        """The child's base URL while it is ready and meant to stay, else None."""
        return None if self._stopping.is_set() else self._url

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._task is not None

    @property
    def pid(self) -> int | None:
        """The process id of the running child, or None."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Begin to run the child. Call once, on the main thread's loop."""
        assert self._task is None, "started twice"
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.name)

    def check(self) -> None:
        """Raise what ended the task, if a bug of ours did; else do nothing."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def stop(self, drain_s: float) -> None:
        """Ask the child to end, wait at most `drain_s`, then kill; no restart follows.

        Safe to call again with less patience while another call still waits.
        """
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        if self._task is None:
            return
        done, _ = await asyncio.wait({self._task}, timeout=drain_s)
        if not done:
            self.kill()
            await asyncio.wait({self._task})

    def kill(self) -> None:
        """End the child now; no restart follows. `stop(0)` waits for it as well."""
        self._stopping.set()
        if self._process is not None:
            self._process.kill()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            again_in_s = await self._live()
            if again_in_s is None or self._stopping.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), again_in_s)
            self.restarts += 1

    async def _live(self) -> float | None:
        """Run the child once; return the wait before the next start, None for never."""
        try:
            port = self._fixed_port or free_port(HOST)
            self._process = await Process.start(self._command(port), self._log)
        except OSError as error:
            return self._again(f"cannot be started: {error.strerror or error}")
        if self._stopping.is_set():  # stop() came while it was being started
            self._process.terminate()
        try:
            self.exit_code = code = await self._watched(self._process, port)
            words = self._process.last_words()
        finally:
            self._process.kill()
            self._process = None
            self._url = None
        if self._stopping.is_set():
            return None
        return self._after_exit(code, words, port)

    async def _watched(self, process: Process, port: int) -> int:
        watch = asyncio.create_task(self._watch(port), name=f"{self.name} probe")
        try:
            return await process.wait()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch(self, port: int) -> None:
        base = f"http://{self._host}:{port}"
        silent, ready_for_s = 0, 0.0
        while not self._stopping.is_set():  # what it says while it ends is no news
            answer = await self._probe(base + self._probe_path)
            silent = silent + 1 if answer is Answer.SILENT else 0
            if answer is Answer.READY:
                ready_for_s += PROBE_INTERVAL_S
                self._exits = 0 if ready_for_s >= STEADY_S else self._exits
                self._set_ready(base)
            elif answer is Answer.NOT_READY or silent >= SILENT_PROBES:
                ready_for_s = 0.0
                self._lose_ready("says so" if silent == 0 else f"{silent} probes had no answer")
            await asyncio.sleep(PROBE_INTERVAL_S)

    def _set_ready(self, base: str) -> None:
        if self._url is None:
            self._url = base
            self._ever_ready = True
            self._listener("Ready", f"{self.name} is ready at {base}")

    def _lose_ready(self, why: str) -> None:
        if self._url is not None:
            self._url = None
            self._listener("NotReady", f"{self.name} is not ready any more: {why}")

    def _after_exit(self, code: int, words: str, port: int) -> float | None:
        if code != EXIT_CONFIG or self._ever_ready:
            end = f"signal {-code}" if code < 0 else f"exit code {code}"
            return self._again(f"ended with {end}" + (f": {words}" if words else ""))
        if self._fixed_port is None and (str(port) in words or not is_free(HOST, port)):
            return 0.0  # somebody took the port between our choice and the child's bind
        self.failure = words or "it ended with exit code 2 and said nothing"
        self._listener("Failed", f"{self.name} is not started again; its log is {self._log}")
        return None

    def _again(self, what: str) -> float:
        self._exits += 1
        delay_s = self._restart_delay(self._exits)
        self._listener("Restarting", f"{self.name} {what}; it starts again in {delay_s:g} s")
        return delay_s

"""The clients' end of a relay under test, and the loop that drives both ends in one process.

One process, so that they fit into one core beside what is measured and wait for nobody but it.
"""

import contextlib
import math
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from relay_engine import NUMBER_DIGITS, READ_BYTES, STAMP, STAMP_DIGITS, Engine, Loop
from relay_plan import Load, Pace, Plan

END_MARK = b"0\r\n\r\n"
FIRST_NUMBER = 10**NUMBER_DIGITS
REFUSAL_BYTES = 400
"""How much is kept of an answer without an event."""
MOST_IDLE_S = 0.01
PATIENCE_S = 30.0
"""How much longer than planned a run may take before it counts as hung."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Whom to ask, and for what."""

    port: int
    model: str = "m"
    key: str = ""

    def request(self, number: int) -> bytes:
        """Bytes that ask for the stream of this number, which end the body."""
        body = (
            f'{{"model":"{self.model}","stream":true,"messages":[{{"role":"user",'
            f'"content":"hello"}}],"seed":{FIRST_NUMBER + number}}}'
        )
        authorization = f"authorization: Bearer {self.key}\r\n" if self.key else ""
        return (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"{authorization}connection: close\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()


class _Reader:
    """One client connection, one stream."""

    __slots__ = ("asked_at", "has_first", "number", "sock", "tail")

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.asked_at = time.monotonic()
        self.has_first = False
        self.tail = b""


class Clients:
    """Ask for the streams of one run, read them and count.

    Attributes:
        is_open: Whether the window is open: what is due in it counts.
    """

    def __init__(self, loop: Loop, engine: Engine, plan: Plan, load: Load, ask: Ask) -> None:
        self.is_open = False
        self._loop = loop
        self._engine = engine
        self._plan = plan
        self._load = load
        self._ask = ask
        self._opened_at = math.inf
        self._reading: set[_Reader] = set()
        self._num_begun = 0

    @property
    def have_all_begun(self) -> bool:
        """Whether as many streams as planned have had an event or were refused; a flood is
        measured whole."""
        return self._num_begun >= self._plan.streams or self._plan.pace is Pace.FLOOD

    @property
    def num_open(self) -> int:
        """Streams that have not ended."""
        return len(self._reading)

    def ask(self) -> None:
        """Begin one more stream."""
        number = self._load.num_streams
        self._load.num_streams += 1
        sock = socket.create_connection(("127.0.0.1", self._ask.port))
        sock.sendall(self._ask.request(number))
        reader = _Reader(sock, number)
        self._reading.add(reader)
        self._loop.add(sock, lambda _: self._read(reader))

    def open_window(self, now: float) -> None:
        """Measure from now on."""
        self._opened_at, self.is_open = now, True

    def close_window(self, now: float) -> None:
        """Measure no longer; the engine ends all streams."""
        self._load.window_s, self.is_open = now - self._opened_at, False
        self._engine.is_over = True

    def _read(self, reader: _Reader) -> None:
        try:
            data = reader.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self._take(reader, reader.tail + data, time.monotonic())
        else:
            self._end(reader)

    def _take(self, reader: _Reader, text: bytes, now: float) -> None:
        start = text.find(STAMP)
        while 0 <= start <= len(text) - len(STAMP) - STAMP_DIGITS:
            start += len(STAMP)
            self._count(reader, text[start : start + STAMP_DIGITS], now)
            start = text.find(STAMP, start)
        kept_bytes = len(STAMP) - 1 if reader.has_first else REFUSAL_BYTES
        reader.tail = text[start:] if start >= 0 else text[-kept_bytes:]

    def _count(self, reader: _Reader, stamp: bytes, now: float) -> None:
        load = self._load
        load.num_read += 1
        if self.is_open:
            load.num_in_window += 1
            # A proxy may cut chunks anywhere, in the middle of a number, too.
            with contextlib.suppress(ValueError):
                due = float(stamp)
                if due >= self._opened_at:
                    load.latencies_s.append(now - due)
            if not reader.has_first and reader.asked_at >= self._opened_at:
                load.first_s.append(now - reader.asked_at)
        self._num_begun += not reader.has_first
        reader.has_first = True
        self._engine.was_read(reader.number)

    def _end(self, reader: _Reader) -> None:
        self._load.num_whole += reader.tail.endswith(END_MARK)
        self._reading.discard(reader)
        self._loop.drop(reader.sock)
        if not reader.has_first and not self._engine.is_over:
            # Not asked again: whoever refuses at once would be asked without end.
            self._num_begun += 1
            self._load.refusals.append(reader.tail.decode("latin-1"))
        elif self._plan.has_clock and not self._engine.is_over:
            self.ask()


def run(
    loop: Loop, engine: Engine, plan: Plan, ask: Ask, *, probe: Callable[[], None] = lambda: None
) -> Load:
    """Carry out a plan; `probe` is called at the beginning and at the end of the window.

    Raises:
        SystemExit: The streams do not end.
    """
    load, begun_at = Load(), time.monotonic()
    opens_at, ends_at = begun_at + plan.ramp_s, math.inf
    starts = deque(begun_at + plan.ramp_s * i / plan.streams for i in range(plan.streams))
    engine.begin(plan, load)
    clients = Clients(loop, engine, plan, load, ask)
    while starts or clients.num_open:
        now = time.monotonic()
        if starts and starts[0] <= now:
            starts.popleft()
            clients.ask()
        if now >= opens_at and clients.have_all_begun:
            probe()
            opened_at = time.monotonic()
            opens_at, ends_at = math.inf, opened_at + plan.window_s
            clients.open_window(opened_at)
        if now >= ends_at:
            ends_at = math.inf
            clients.close_window(time.monotonic())
            probe()
        if now > begun_at + plan.ramp_s + min(plan.window_s, PATIENCE_S) + PATIENCE_S:
            raise SystemExit(f"{clients.num_open} streams do not end")
        idle_s = engine.work(now)
        loop.turn(min(idle_s, starts[0] - now if starts else MOST_IDLE_S))
    if clients.is_open:
        clients.close_window(time.monotonic())
        probe()
    return load

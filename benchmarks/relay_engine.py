"""The engine's end of a relay under test: writes stamped events at a planned pace.

Bare sockets around one `epoll`, since load that costs more than what it measures would measure
itself: an event costs about 15 µs to write and to read. Each carries the time it was due, so an
engine that falls behind makes latencies longer and never fewer (no coordinated omission), and
how far it fell behind is reported beside them.
"""

import contextlib
import heapq
import math
import select
import socket
import time
from collections import deque
from collections.abc import Callable

from relay_plan import Load, Pace, Plan

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
NO_METRICS = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
STAMP = b'"stamp":'
STAMP_DIGITS = 17
_EVENT = (
    b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1,'
    b'"model":"m","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}],'
    b'"stamp":%17.6f}\n\n'
)
EVENT = b"%x\r\n%b\r\n" % (len(_EVENT % 0.0), _EVENT)
"""A chat chunk of usual size in its frame, with the time it was due in a place of fixed width."""

LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_USAGE = b': pagelet-usage {"usage":{"prompt_tokens":20,"completion_tokens":%d}}\n\n'
"""Said before the first event and before the last to whoever asks, as Pagelet's engine does."""

NUMBER_DIGITS = 6
"""The last digits of a request's body are the number of its stream."""
READ_BYTES = 65536
SPIN_S = 0.0015
"""epoll rounds up to milliseconds: closer to an event's time than this it only looks."""


class Loop:
    """One epoll and who is called when a socket is ready."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._socks: dict[int, socket.socket] = {}

    def add(self, sock: socket.socket, call: Callable[[int], None]) -> None:
        """Have `call` told when `sock` can be read."""
        sock.setblocking(False)
        self._calls[sock.fileno()] = call
        self._socks[sock.fileno()] = sock
        self._epoll.register(sock, select.EPOLLIN)

    def also_writable(self, sock: socket.socket, wanted: bool) -> None:
        """Say whether to tell, too, when it can be written."""
        self._epoll.modify(sock, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def drop(self, sock: socket.socket) -> None:
        """Close a socket."""
        del self._calls[sock.fileno()], self._socks[sock.fileno()]
        sock.close()

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._socks.values():
            sock.close()
        self._epoll.close()

    def turn(self, wait_s: float) -> None:
        """Call all that are ready, waiting for one for at most so long."""
        calls = self._calls
        for number, events in self._epoll.poll(wait_s if wait_s > SPIN_S else 0):
            call = calls.get(number)
            if call is not None:
                call(events)


class _Pen:
    """A connection to the engine; writes one stream after the other."""

    __slots__ = ("closes", "due", "inbox", "left", "number", "pending", "sock", "tells_usage")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.inbox = self.pending = b""
        self.number = -1
        self.left = 0
        self.due = 0.0
        self.closes = self.tells_usage = False

    def __lt__(self, other: "_Pen") -> bool:
        return self.due < other.due

    def takes(self, data: bytes) -> bool:
        """Take bytes of a request; returns whether it is complete."""
        self.inbox += data
        head, found, body = self.inbox.partition(b"\r\n\r\n")
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if not found or len(body) < length:
            return False
        self.closes = b"connection: close" in lowered
        self.tells_usage = b"x-pagelet-usage" in lowered
        self.number = int(body[length - NUMBER_DIGITS - 1 : length - 1])
        self.inbox = b""
        return True


class Engine:
    """Writes the streams that are asked for, at the pace of the plan.

    Attributes:
        port: Where it listens.
        is_over: Whether streams are to end now.
    """

    def __init__(self, loop: Loop) -> None:
        self.is_over = False
        self._loop = loop
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = int(listener.getsockname()[1])
        self._listener = listener
        loop.add(listener, self._accept)
        self.begin(Plan(pace=Pace.FLOOD), Load())

    def begin(self, plan: Plan, load: Load) -> None:
        """Write by `plan` from now on, and count in `load`."""
        self._plan, self._load, self.is_over = plan, load, False
        self._due: list[_Pen] = []
        self._flooding: deque[_Pen] = deque()
        self._writing: dict[int, _Pen] = {}
        self._step_from = time.monotonic()

    def work(self, now: float) -> float:
        """Write what is due; returns how long there is nothing more to write, seconds."""
        due, interval_s = self._due, self._plan.interval_s
        while due and due[0].due <= now:
            pen = due[0]
            self._load.lags_s.append(now - pen.due)
            if self._write(pen):
                pen.due += interval_s
                heapq.heapreplace(due, pen)
            else:
                heapq.heappop(due)
        for _ in range(min(32, len(self._flooding))):
            pen = self._flooding.popleft()
            if self._write(pen) and not pen.pending:
                self._flooding.append(pen)
        if self._flooding:
            return 0.0
        return due[0].due - now if due else 0.1

    def was_read(self, number: int) -> None:
        """A stream's last event has reached its reader."""
        if self._plan.pace is Pace.ONE_BY_ONE and number in self._writing:
            self._write(self._writing[number])

    def _accept(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _address = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pen = _Pen(sock)
                self._loop.add(sock, lambda events, pen=pen: self._ready(pen, events))

    def _ready(self, pen: _Pen, events: int) -> None:
        if events & select.EPOLLOUT and pen.pending:
            self._push(pen, b"")
            if not pen.pending and self._plan.pace is Pace.FLOOD and pen.number in self._writing:
                self._flooding.append(pen)
        if not events & ~select.EPOLLOUT:
            return
        try:
            data = pen.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            if self._writing.get(pen.number) is pen:
                del self._writing[pen.number]
            pen.left = -1
            self._loop.drop(pen.sock)
        elif pen.inbox.startswith(b"GET ") or data.startswith(b"GET "):
            pen.inbox = b""  # a gateway that asks for its load, which it does not tell
            self._push(pen, NO_METRICS)
        elif pen.takes(data):
            self._answer(pen)

    def _answer(self, pen: _Pen) -> None:
        now, plan = time.monotonic(), self._plan
        pen.left = plan.length(pen.number)
        pen.due = now
        self._writing[pen.number] = pen
        self._push(pen, HEAD + _usage(0) if pen.tells_usage else HEAD)
        if plan.pace is Pace.IN_STEP:
            steps = math.ceil((now - self._step_from) / plan.interval_s)
            pen.due = self._step_from + steps * plan.interval_s
        if plan.has_clock:
            heapq.heappush(self._due, pen)
        elif plan.pace is Pace.FLOOD:
            self._flooding.append(pen)
        else:
            self._write(pen)

    def _write(self, pen: _Pen) -> bool:
        """Write the next event; returns whether there are more to come."""
        if pen.left > 0 and not self.is_over:
            pen.left -= 1
            self._load.num_written += 1
            stamp = pen.due if self._plan.has_clock else time.monotonic()
            self._push(pen, EVENT % stamp)
            return True
        if pen.left >= 0:  # else its connection is gone
            self._writing.pop(pen.number, None)
            num_events = self._plan.length(pen.number) - pen.left
            self._push(pen, _usage(num_events) + LAST if pen.tells_usage else LAST)
        return False

    def _push(self, pen: _Pen, data: bytes) -> None:
        had_pending = bool(pen.pending)
        data = pen.pending + data if had_pending else data
        try:
            sent = pen.sock.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            sent = len(data)  # what becomes of the connection, `_ready` is told
        pen.pending = data[sent:]
        if bool(pen.pending) != had_pending:
            self._loop.also_writable(pen.sock, bool(pen.pending))
        if pen.closes and not pen.pending and pen.number not in self._writing:
            with contextlib.suppress(OSError):
                pen.sock.shutdown(socket.SHUT_WR)


def _usage(num_tokens: int) -> bytes:
    told = _USAGE % num_tokens
    return b"%x\r\n%b\r\n" % (len(told), told)

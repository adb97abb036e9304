"""Server-sent events from bytes that arrive in any pieces.

Follows the event-stream grammar: lines end in LF, CR or CRLF; `:` starts a comment; several
`data` lines of one event are joined by LF; an event without data, or cut off by the end of the
stream, does not count. `id` and `retry` mean nothing to a one-shot request and are ignored.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from dataclasses import dataclass

MAX_EVENT_BYTES = 1024 * 1024
"""Largest event; a server that never ends a line must not fill the memory."""

_BOM = b"\xef\xbb\xbf"


class SseError(Exception):
    """The stream is not usable as server-sent events."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One dispatched event; `name` is "message" unless the stream names it."""

    name: str
    data: bytes


class SseParser:
    """Turns chunks into events, each as soon as its last byte has arrived."""

    __slots__ = ("_at_start", "_data", "_data_bytes", "_name", "_skip_lf", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._skip_lf = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes and return the events they complete, in order.

        Raises:
            SseError: An event is larger than MAX_EVENT_BYTES.
        """
        if not chunk:
            return []
        # A CR ends its line at once, for waiting on a possible LF would delay the last event by a
        # whole token. So an LF that opens the next chunk belongs to that CR.
        if self._skip_lf and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._skip_lf = chunk.endswith(b"\r")
        lines = (self._tail + chunk).splitlines(keepends=True)
        self._tail = b""
        if lines and not lines[-1].endswith((b"\r", b"\n")):
            self._tail = lines.pop()
        events = [event for line in lines if (event := self._line(line.rstrip(b"\r\n")))]
        if len(self._tail) + self._data_bytes > MAX_EVENT_BYTES:
            raise SseError(f"an event exceeds {MAX_EVENT_BYTES} bytes.")
        return events

    def _line(self, line: bytes) -> SseEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif field == b"event":
            self._name = value.decode(errors="replace")
        return None

    def _dispatch(self) -> SseEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data, self._data_bytes = "", [], 0
        return SseEvent(name, b"\n".join(data)) if data else None

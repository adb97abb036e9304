"""The writing end of a stream: comments while there is nothing to say, an end to slow readers.

What one reader has not taken yet is bounded by 256 KiB: 128 in the kernel, 64 in uvicorn, then the
event being written and 16 of tokens, beyond which the engine holds the sequence back (see
`generation`). Whoever is slower for longer than the time-out below is cut off; all the while nobody
else waits, as every stream has a task of its own.
"""

import asyncio
from dataclasses import dataclass

from starlette.types import Scope, Send

_COMMENT = b": keep-alive\n\n"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long silences of either side may last."""

    keep_alive_s: float = 15.0
    """Silence after which a stream sends a comment, below the idle time-outs of common proxies."""
    slow_reader_s: float = 30.0
    """Longest time for a client to take what fills its buffer."""


class SlowReaderError(Exception):
    """The client does not read; its connection has been cut."""


class StreamWriter:
    """Writes one response's body."""

    def __init__(self, scope: Scope, send: Send, pace: Pace) -> None:
        self._abort_connection = scope.get("state", {}).get("abort_connection", lambda: None)
        self._send = send
        self._pace = pace
        self._is_writing = False
        self._wrote_at = asyncio.get_running_loop().time()

    async def write(self, data: bytes) -> None:
        """Send `data`.

        Raises:
            SlowReaderError: The client has not made room for it in time.
        """
        self._is_writing = True
        try:
            async with asyncio.timeout(self._pace.slow_reader_s):
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            # Not a polite close: that would wait for the client to read the rest.
            self._abort_connection()
            raise SlowReaderError from None
        self._is_writing = False
        self._wrote_at = asyncio.get_running_loop().time()

    async def keep_alive(self) -> None:
        """Send a comment after each silence, for ever; to be cancelled when the stream ends."""
        loop = asyncio.get_running_loop()
        while True:
            silence_s = loop.time() - self._wrote_at
            if silence_s < self._pace.keep_alive_s:
                await asyncio.sleep(self._pace.keep_alive_s - silence_s)
            elif self._is_writing:
                await asyncio.sleep(self._pace.keep_alive_s)  # nothing can be said to a full buffer
            else:
                await self.write(_COMMENT)

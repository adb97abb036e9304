"""Watches one relayed answer: an engine that falls silent, a client that does not read.

One timer per request looks now and then whether the relay has moved; nothing is set or cancelled
per chunk. Comments that an engine sends to keep a connection alive are bytes like any other.
"""

import asyncio

from pagelet_gateway.server.exchange import Exchange
from pagelet_gateway.server.upstream import Answer

LOOKS = 4
"""How often per limit; a silence ends after its limit plus at most one look."""


class Watch:
    """`with Watch(...)` around a relay.

    Attributes:
        is_slow_reader: Whether the client's connection was cut because it did not read.
    """

    def __init__(
        self, answer: Answer, exchange: Exchange, *, idle_s: float, slow_reader_s: float
    ) -> None:
        """Prepare.

        Args:
            answer: Read by the relay.
            exchange: Written by it.
            idle_s: Longest silence of the engine.
            slow_reader_s: Longest time for the client to take what fills its buffer.
        """
        self.is_slow_reader = False
        self._answer = answer
        self._exchange = exchange
        self._idle_s = idle_s
        self._slow_reader_s = slow_reader_s
        self._loop = asyncio.get_running_loop()
        self._seen = (-1, -1)
        self._moved_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> "Watch":
        self._look()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        place = (self._answer.num_reads, self._exchange.num_sends)
        if place != self._seen:
            self._seen, self._moved_at = place, now
        still_s = now - self._moved_at
        if self._answer.is_waiting and still_s >= self._idle_s:
            self._answer.stall()
        elif self._exchange.is_sending and still_s >= self._slow_reader_s:
            self.is_slow_reader = True
            self._exchange.abort()
        else:
            wait_s = min(self._idle_s, self._slow_reader_s) / LOOKS
            self._timer = self._loop.call_later(wait_s, self._look)

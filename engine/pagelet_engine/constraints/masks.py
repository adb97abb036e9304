"""The engine process's side of constraints: one socket per constrained sequence.

A matcher process sends a mask ahead of every token, and computes the next one while the engine
runs its next step, so a mask has usually arrived when it is wanted. A matcher that is dead, late or
out of its depth ends its own sequence and no other. Nothing here knows what is demanded.
"""

import contextlib
import socket
import time
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from pagelet_engine.constraints.messages import MASK_STATUS, mask_bytes
from pagelet_engine.core.draw import Draw, NoToken

MASK_PATIENCE_S = 0.5
"""Longest wait for the masks of one step, all sequences together, seconds. A matcher's own limits
let a mask take a tenth of a second of a core; what is above is room for a busy machine. It is how
long one matcher that hangs can make all others wait, once, before its sequence ends."""
UNREACHABLE = "The process that checks this request's constraint has ended; send it again."
LATE = (
    "The constraint of this request took too long to check, or its process ended. Make the "
    "constraint simpler, or send the request again."
)
DEAD_END = (
    "The output cannot go on: no token is left that this request's constraint and its other "
    "settings both allow."
)

Mask = npt.NDArray[np.bool_]


class Masks:
    """The constrained sequences of one engine; not thread-safe."""

    def __init__(self, vocab_size: int) -> None:
        """Prepare for masks over ids in [0, vocab_size)."""
        self._vocab_size = vocab_size
        self._num_bytes = 1 + mask_bytes(vocab_size)
        self._connections: dict[int, socket.socket] = {}
        self._problems: dict[int, str] = {}
        self.last_wait_s = 0.0
        """What the last `allowed` took, seconds."""
        self.num_late = 0
        """Masks that did not come in time."""

    def open(self, seq_id: int, address: str) -> str | None:
        """Connect a sequence to its matcher; return the sentence why that is impossible."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(MASK_PATIENCE_S)
            connection.connect(address)
        except OSError:
            connection.close()
            return UNREACHABLE
        self._connections[seq_id] = connection
        return None

    def allowed(self, seq_ids: Sequence[int]) -> Mask | None:
        """Wait for the masks of `seq_ids`.

        Returns:
            [len(seq_ids), vocab_size] bool, all True for sequences without a constraint and all
            False for those that must end; None if none of them has one.
        """
        self.last_wait_s = 0.0
        if not any(seq_id in self._connections for seq_id in seq_ids):
            return None
        started = time.monotonic()
        deadline = started + MASK_PATIENCE_S
        rows = np.ones((len(seq_ids), self._vocab_size), np.bool_)
        for row, seq_id in zip(rows, seq_ids, strict=True):
            if seq_id in self._connections:
                self._read(seq_id, row, deadline)
        self.last_wait_s = time.monotonic() - started
        return rows

    def advance(self, draws: Iterable[tuple[int, Draw]]) -> None:
        """Tell matchers which token was drawn: pairs of sequence id and draw."""
        for seq_id, draw in draws:
            connection = self._connections.get(seq_id)
            if connection is not None and not isinstance(draw, NoToken):
                # A matcher that is gone is noticed when its mask is wanted.
                with contextlib.suppress(OSError):
                    connection.sendall(draw.to_bytes(4, "little"))

    def problem(self, seq_id: int) -> str | None:
        """Return why no token could be drawn for a sequence; None if it has no constraint."""
        return self._problems.get(seq_id, DEAD_END if seq_id in self._connections else None)

    def close(self, seq_id: int) -> None:
        """Forget a sequence; unknown ids are ignored."""
        self._problems.pop(seq_id, None)
        connection = self._connections.pop(seq_id, None)
        if connection is not None:
            connection.close()

    def _read(self, seq_id: int, row: Mask, deadline: float) -> None:
        answer = _receive(self._connections[seq_id], self._num_bytes, deadline)
        if answer is None:
            self._problems[seq_id] = LATE
            self.num_late += 1
            row[:] = False
            return
        bits = np.frombuffer(answer[1:], np.uint8) if answer[:1] == MASK_STATUS else None
        row[:] = (
            False
            if bits is None
            else np.unpackbits(bits, count=self._vocab_size, bitorder="little").view(np.bool_)
        )


def _receive(connection: socket.socket, num_bytes: int, deadline: float) -> bytes | None:
    """Return a status byte and, if it announces one, a mask; None if that does not come."""
    buffer = bytearray(num_bytes)
    view = memoryview(buffer)
    received = 0
    try:
        while received < num_bytes:
            connection.settimeout(max(deadline - time.monotonic(), 1e-3))
            count = connection.recv_into(view[received:])
            if count == 0:
                return None
            received += count
            if buffer[:1] != MASK_STATUS:
                return bytes(buffer[:1])
    except OSError:  # time-outs among them
        return None
    return bytes(buffer)

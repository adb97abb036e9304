"""Who of several operators works: a record that one holds and renews, and others watch.

Nobody compares clocks of two machines. Who stands by notes on its own clock when it last saw the
record change, and takes over once it has stood still for `DURATION_S`. Who holds it ends its work
`DEADLINE_S` after its last renewal that was answered, which is earlier: so the work of one has
ended before that of the next begins, as long as the clocks run at about the same rate and the
holder is scheduled at all within the difference.

Source: the rules of client-go's leader election,
https://pkg.go.dev/k8s.io/client-go/tools/leaderelection.
"""

from dataclasses import dataclass
from enum import Enum

DURATION_S = 15.0
"""How long a record that stands still is respected, seconds. Longer: a crashed operator is replaced
later. Shorter: an API server that is slow for a moment makes the work change hands."""

DEADLINE_S = 10.0
"""After this long without a renewal that was answered the work ends, seconds. The 5 s to
`DURATION_S` are for a write that is under way and for a process that is not scheduled."""

RETRY_S = 2.0
"""Between two looks or renewals, seconds: several fit into the deadline, at one small request."""

assert RETRY_S < DEADLINE_S < DURATION_S


@dataclass(frozen=True, slots=True)
class Record:
    """What the Lease says; `version` differs after every write."""

    holder: str | None
    """Who works; None where nobody does."""
    version: str


@dataclass(frozen=True, slots=True)
class Sight:
    """A record, and since when it has been seen as it is (the watcher's own monotonic seconds)."""

    record: Record | None
    since: float


class Move(Enum):
    """What to do about the Lease now."""

    WAIT = "wait"
    """Somebody else works."""
    TAKE = "take"
    """Write one's own name, if the record is still as it was seen."""
    RENEW = "renew"
    """Write it again."""


def look(before: Sight | None, record: Record | None, now: float) -> Sight:
    """Return what is seen now; the time goes on while the record stands still."""
    if before is not None and before.record == record:
        return before
    return Sight(record, now)


def move(sight: Sight, me: str, now: float) -> Move:
    """Return what the process `me` does about a Lease it sees so."""
    record = sight.record
    if record is None or record.holder is None:
        return Move.TAKE
    if record.holder == me:
        return Move.RENEW
    return Move.TAKE if now - sight.since >= DURATION_S else Move.WAIT


def may_work(renewed_at: float, now: float) -> bool:
    """Whether work may go on, that long after the last renewal that was answered was sent."""
    return now - renewed_at < DEADLINE_S

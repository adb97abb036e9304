"""Where a canary's replicas find room, and how many replicas each revision has meanwhile.

    Surge     stable R       canary c     c follows the canary's share; room for twice as many
    Borrow    stable R - c   canary c     c follows the canary's share, and one at least serves
    InPlace   stable R - c   canary c     as Borrow; none is left where no request needs one

What is lent is never more than the live traffic can spare: a stable revision keeps the replicas
for its share of the demand, and a share goes only to replicas that are ready for it, both ways.

Beside a whole stable revision the canary has as many replicas as give each of them what one of
stable's gets. With more it would idle, and a canary that idles looks faster than it is.
"""

import math
from dataclasses import dataclass

from pagelet_operator.core.model import Capacity


@dataclass(frozen=True, slots=True)
class Room:
    """How many replicas each revision should have."""

    stable: int
    canary: int
    kept: int
    """Stable replicas that the live traffic needs; no more than the others can be lent."""


def choose(
    asked: Capacity, before: Capacity | None, replicas: int, needed: int | None, short: bool
) -> Capacity:
    """Return where the canary's replicas go; never AUTO.

    AUTO leaves Surge only for replicas that cannot start for want of room, and only if the live
    traffic is known to spare some. It does not come back before the rollout is over: replicas
    would start and end with every change of the traffic.

    Args:
        asked: What the spec says.
        before: What was chosen for this canary before; None for nothing yet.
        replicas: Replicas a revision has in full.
        needed: Replicas that the live traffic needs; None where nobody measures it.
        short: Whether the canary's replicas lack room.
    """
    if asked is not Capacity.AUTO:
        return asked
    if before is not None and before is not Capacity.SURGE:
        return before
    if not short or needed is None:
        return Capacity.SURGE
    if replicas > 1 and needed < replicas:
        return Capacity.BORROW
    return Capacity.IN_PLACE if needed == 0 else Capacity.SURGE


def demand(mode: Capacity, replicas: int, needed: int | None) -> int:
    """Return the replicas that all traffic together has to have.

    Beside a whole stable revision the canary is made whole, too. Otherwise it is what the live
    traffic needs; where nobody measures it, whoever asked to borrow says that one can be spared.
    """
    if mode is Capacity.SURGE:
        return replicas
    return replicas - 1 if needed is None else min(needed, replicas)


def divide(mode: Capacity, replicas: int, demanded: int, weight: int, want: int) -> Room:
    """Return how many replicas stable and canary should have.

    Args:
        mode: Where the canary's replicas go.
        replicas: Replicas a revision has in full.
        demanded: Replicas that all traffic needs, at most `replicas`.
        weight: The canary's share now, percent.
        want: The share it should be able to carry, percent.
    """
    if mode is Capacity.SURGE:
        return Room(replicas, alike(max(weight, want), replicas), replicas)
    wish = min(replicas, max(1, math.ceil(replicas * want / 100)))
    kept = _kept(demanded, weight)
    if weight < 100 and not (mode is Capacity.IN_PLACE and demanded == 0):
        kept = max(1, kept)
    # A canary with more than it should have keeps what that takes, until stable takes it back.
    stable = max(kept, min(replicas - wish, replicas - carriers(weight, demanded)))
    return Room(stable, replicas - stable, kept)


def alike(weight: int, replicas: int) -> int:
    """Return the canary's replicas beside a whole stable revision: none has more to do than one
    of stable's, and as few as can be have less.
    """
    return replicas if weight >= 50 else max(1, math.ceil(replicas * weight / (100 - weight)))


def alike_share(ready: int, replicas: int) -> int:
    """Return the share, percent, at which this many ready replicas are no busier than stable's."""
    if ready == 0:
        return 0
    return 100 if ready >= replicas else math.floor(100 * ready / (replicas + ready))


def _kept(demanded: int, weight: int) -> int:
    # Weights are whole percents: of two replicas of three, 67 % is no replica more than 66 %.
    return math.ceil(demanded * max(0, 99 - weight) / 100)


def carriers(weight: int, demanded: int) -> int:
    """Return the ready replicas that a share of the traffic needs; one at least for any."""
    return max(1, math.ceil(demanded * weight / 100)) if weight else 0


def affordable(ready: int, demanded: int) -> int:
    """Return the share, percent, that this many ready replicas can carry."""
    if ready == 0:
        return 0
    return 100 if demanded == 0 else min(100, math.floor(100 * ready / demanded))


def taken_back(ready: int, demanded: int) -> int:
    """Return the share, percent, that this many ready replicas of stable take from a canary.

    Rounded up, so that the canary keeps what its other replicas can carry and not a percent more.
    """
    if ready == 0:
        return 0
    return 100 if demanded == 0 else min(100, math.ceil(100 * ready / demanded))

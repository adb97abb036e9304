"""How many replicas a rate takes, what a rollout takes on top, and what it costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pagelet_operator.core import capacity
from pagelet_operator.core.model import Capacity
from pagelet_operator.core.planner.errors import PlanError

HOURS_PER_MONTH = 730
"""A year's 8,760 hours in twelve parts."""

_MODES = (Capacity.SURGE, Capacity.BORROW, Capacity.IN_PLACE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What a way to roll out takes."""

    mode: str
    replicas: int
    """Most at once, of both revisions, those kept warm after a promotion included."""
    gpus: int
    works: bool = True
    """Whether a canary finds room at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of one GPU, or of one replica on a CPU, for one hour."""

    amount: float
    currency: str


def replicas_for(rate_per_s: float, per_replica: float, headroom: float) -> int:
    """Return the replicas that carry a rate while a share of each stays free; at least one.

    Args:
        rate_per_s: Requests per second of all users.
        per_replica: Requests per second that one replica carries, above 0.
        headroom: Share of that which stays free, in [0, 1).
    """
    return max(1, math.ceil(rate_per_s / (per_replica * (1 - headroom)) - 1e-9))


def peaks(replicas: int, weights: Sequence[int], gpus_each: int) -> tuple[Peak, ...]:
    """Return what each way to roll out takes at its peak.

    Args:
        replicas: Of a revision in full.
        weights: The canary's shares, percent, rising.
        gpus_each: GPUs of one replica.
    """
    found = [_shared(mode, replicas, weights, gpus_each) for mode in _MODES]
    blue_green = Peak(mode="BlueGreen", replicas=2 * replicas, gpus=2 * replicas * gpus_each)
    recreate = Peak(mode="Recreate", replicas=replicas, gpus=replicas * gpus_each)
    return (*found, blue_green, recreate)


def _shared(mode: Capacity, replicas: int, weights: Sequence[int], gpus_each: int) -> Peak:
    demanded = capacity.demand(mode, replicas, None)
    steps = [0, *weights, 100]
    rooms = [
        capacity.divide(mode, replicas, demanded, weight, want) for weight, want in pairwise(steps)
    ]
    most = max(room.stable + room.canary for room in rooms)
    return Peak(
        mode=str(mode),
        replicas=most,
        gpus=most * gpus_each,
        works=all(room.canary for room in rooms),
    )


def monthly(price: Price, devices: int) -> float:
    """Return the price of so many devices for a month, in the price's currency."""
    return price.amount * devices * HOURS_PER_MONTH


def price(text: str) -> Price:
    """Return the price in `2.50 EUR`.

    Raises:
        PlanError: It has no amount or no currency.
    """
    amount, _, currency = text.strip().partition(" ")
    try:
        value = float(amount)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise PlanError(f"--price is {text!r}; write an amount and a currency, such as '2.50 EUR'")
    if len(currency) != 3 or not (currency.isascii() and currency.isupper()):
        raise PlanError(
            f"--price is {text!r}, without a currency; write its three letters behind the amount, "
            f"such as '{amount} EUR'"
        )
    return Price(amount=value, currency=currency)

"""Weighted split: which revision serves a request.

Without a conversation key a model's requests are dealt one by one (`Dealer`); with one, the
key alone decides (`by_key`), so a conversation stays on one revision and every gateway
replica agrees without talking to the others. `conversation` says what the key is.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pagelet_gateway.core.route_table import Stickiness


@dataclass(slots=True)
class Dealer:
    """Deals requests to revisions, exactly by weight.

    After any number of requests every revision is less than one request away from its exact
    share; after each full round (as many requests as the weights sum to, or a divisor of
    that) it is on it. Within these bounds the turns of two revisions are drawn: with a fixed
    step, traffic with a rhythm of its own (every fourth request is streamed, every tenth comes
    from one tool) would give a canary nothing but one kind of request.
    """

    weights: Mapping[str, int]
    """By revision name; positive integers."""

    _turns: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        assert self.weights
        assert all(weight > 0 for weight in self.weights.values())
        self._turns = (_drawn if len(self.weights) == 2 else _earliest_deadline)(self.weights)

    def deal(self) -> str:
        """Choose the revision of the next request. O(number of revisions)."""
        return next(self._turns)


def _drawn(weights: Mapping[str, int]) -> Iterator[str]:
    """Deal to two: each turn of the lighter one lies anywhere among those that keep the bounds.

    Its turn j may be any n with floor(j * round / weight) <= n < ceil((j + 1) * round / weight),
    counting both from 0; one turn that two j could have goes to the first that draws it.
    """
    (light, weight), (heavy, other) = sorted(weights.items(), key=lambda item: (item[1], item[0]))
    divisor = math.gcd(weight, other)
    weight, round_size = weight // divisor, (weight + other) // divisor
    for number in itertools.count():
        free = 0
        for j in range(weight):
            first = max(free, j * round_size // weight)
            end = -(-(j + 1) * round_size // weight)
            turn = first + int(_uniform(light, f"{number}/{j}") * (end - first))
            yield from itertools.repeat(heavy, turn - free)
            yield light
            free = turn + 1
        yield from itertools.repeat(heavy, round_size - free)


def _earliest_deadline(weights: Mapping[str, int]) -> Iterator[str]:
    """Deal to any number: the earliest deadline first among those whose turn has come.

    Source: R. Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980).
    Plain smooth round robin is simpler, but strays by more than one with many revisions.
    """
    if len(weights) == 1:
        yield from itertools.repeat(next(iter(weights)))
    credit = dict.fromkeys(weights, 0)  # in units of 1 / (round * scale); sums to 0 between turns
    scale = 2 * len(weights) - 2
    round_size = sum(weights.values())
    while True:
        chosen, chosen_deadline = "", math.inf
        for name, weight in weights.items():
            credit[name] += weight * scale
            slack = round_size * (scale - 1) - credit[name]
            deadline = -(-slack // (weight * scale))
            if credit[name] >= round_size and deadline < chosen_deadline:
                chosen, chosen_deadline = name, deadline
        assert chosen, "the credits sum to a whole request, so one revision is eligible"
        credit[chosen] -= round_size * scale
        yield chosen


def conversation(
    stickiness: Stickiness, *, named: str | None, user: str | None, opening: bytes
) -> str | None:
    """What identifies the conversation a request belongs to; None to deal it on its own.

    Args:
        stickiness: What the model's route keeps together.
        named: The header x-pagelet-conversation.
        user: The body's `user`.
        opening: The messages up to the first of the user's, which stay the same while a
            conversation grows; empty if the request has none.
    """
    match stickiness:
        case Stickiness.CONVERSATION:
            return named or user or _digest(opening)
        case Stickiness.USER:
            return user or None
        case Stickiness.NONE:
            return None


def _digest(opening: bytes) -> str | None:
    return hashlib.sha256(opening).hexdigest() if opening else None


def by_key(weights: Mapping[str, int], key: str) -> str:
    """Choose the revision of a conversation.

    Monotone: a conversation only ever leaves a revision whose weight fell, so while a canary
    grows none of its conversations moves back. Over many keys the shares are the weights.

    Args:
        weights: By revision name; positive integers.
        key: The conversation; any string.

    Source: weighted rendezvous hashing, Schindelhauer & Schomaker (2005): the highest of
    `-weight / ln(uniform hash of revision and key)` wins.
    """
    return max(weights, key=lambda name: (-weights[name] / math.log(_uniform(name, key)), name))


def _uniform(*parts: str) -> float:
    """Map strings to a number in (0, 1), the same on every machine."""
    digest = hashlib.sha256(_encode(parts)).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48


def _encode(parts: Sequence[str]) -> bytes:
    # JSON lets a client send lone surrogates; they are a key like any other.
    return b"\0".join(part.encode("utf-8", "surrogatepass") for part in parts)

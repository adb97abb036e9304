"""How long prompts and outputs are: counts by bucket, and how far two of them lie apart. Pure.

The buckets are powers of two, those of the gateways' histograms and of a load test's summary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from pagelet_operator.core.window import Histogram, Window

BOUNDS = tuple(2**power for power in range(3, 18))
"""Upper bounds, tokens: 8 to 131072. Above the last there is one bucket more."""

BUCKETS = len(BOUNDS) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Requests by bucket of their prompts and of their outputs; empty where nobody counted."""

    prompt: tuple[int, ...] = ()
    output: tuple[int, ...] = ()


NO_LENGTHS = Lengths()


def of_windows(windows: Mapping[str, Window]) -> Lengths:
    """Return the lengths of all revisions' requests together."""
    prompts = [window.prompt_lengths for window in windows.values()]
    outputs = [window.output_lengths for window in windows.values()]
    return Lengths(prompt=_counted(prompts), output=_counted(outputs))


def distance(tested: Sequence[int], live: Sequence[int]) -> float | None:
    """Return the Kolmogorov-Smirnov distance of two bucketed samples; None if one is empty.

    The largest difference between the shares of requests up to a length: a number in [0, 1].

    Raises:
        ValueError: They have different numbers of buckets.
    """
    if not sum(tested) or not sum(live):
        return None
    ours = [n / sum(tested) for n in accumulate(tested)]
    theirs = [n / sum(live) for n in accumulate(live)]
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def _counted(found: Sequence[Histogram]) -> tuple[int, ...]:
    """Add histograms up; those in other buckets, of another version, say nothing here."""
    ours = [item.counts for item in found if item.bounds == BOUNDS]
    return tuple(map(sum, zip(*ours, strict=True)))

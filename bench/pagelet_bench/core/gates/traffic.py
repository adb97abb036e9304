"""A load like users' traffic, from counts of its lengths. Pure.

Lengths are taken evenly from the distributions, not drawn, so that few requests already have the
shape of many: as many shares of the requests as there are requests, one from the middle of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.gates.summary import LENGTH_BOUNDS
from pagelet_bench.core.lengths import Buckets
from pagelet_bench.core.sampler import stream
from pagelet_bench.core.trace import TraceRow
from pagelet_bench.core.workload import Profile


def like_traffic(profile: Profile, lengths: Mapping[str, Any]) -> Profile:
    """Return `profile` with as many requests at once, and lengths as counted.

    Args:
        profile: How many requests, and how they arrive.
        lengths: `prompt` and `output`: counts by bucket of `LENGTH_BOUNDS`, and those above.

    Raises:
        UsageError: The counts are none, or nothing was counted.
    """
    prompts = _even(_buckets(lengths, "prompt"), profile.requests)
    outputs = _even(_buckets(lengths, "output"), profile.requests)
    rows = zip(_mixed(profile.seed, prompts), _mixed(profile.seed + 1, outputs), strict=True)
    return replace(
        profile, name="traffic", trace=tuple(TraceRow(prompt, output) for prompt, output in rows)
    )


def _buckets(lengths: Mapping[str, Any], name: str) -> Buckets:
    counts = lengths.get(name)
    if not isinstance(counts, list) or len(counts) != len(LENGTH_BOUNDS) + 1:
        raise UsageError(
            f"lengths.{name} is no list of {len(LENGTH_BOUNDS) + 1} counts: {str(counts)[:80]}."
        )
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        raise UsageError(f"lengths.{name} holds what is no count: {str(counts)[:80]}.")
    # How long those above the last bound are nobody knows; they count as that long.
    bounded = (*counts[:-2], counts[-2] + counts[-1])
    return Buckets(bounds=tuple(map(float, LENGTH_BOUNDS)), counts=bounded)


def _even(found: Buckets, count: int) -> list[int]:
    return [found.quantile((place + 0.5) / count) for place in range(count)]


def _mixed(seed: int, values: Sequence[int]) -> list[int]:
    """Return them in another order, so that long prompts have short and long answers."""
    words = stream(seed, "order of lengths")
    keyed = sorted((words.normal(), place) for place in range(len(values)))
    return [values[place] for _, place in keyed]

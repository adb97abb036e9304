"""Lengths that a server's own histograms have seen, from the text of its `/metrics`.

Any histogram named `...prompt_tokens` counts prompts, and `...output_tokens`,
`...generation_tokens` or `...completion_tokens` answers: Pagelet's engine and gateway, vLLM and
others say so. Series of several models or replicas are added up; of several histograms with such a
name the one that counted most is taken.
Source of the format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import math
import re
from collections import defaultdict
from collections.abc import Mapping

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.lengths import Buckets

_BUCKET = re.compile(
    r'^([a-zA-Z_:][\w:]*)_bucket\{[^}]*?\ble="([^"]+)"[^}]*\}\s+([0-9.eE+]+)(?:\s|$)', re.MULTILINE
)
_PROMPT = re.compile(r"prompt_tokens$")
_OUTPUT = re.compile(r"(output|generation|completion)_tokens$")


def live_lengths(text: str) -> tuple[Buckets, Buckets]:
    """Return the distributions of prompt and output lengths, tokens.

    Raises:
        UsageError: There are no such histograms, or they have counted nothing.
    """
    found: dict[str, dict[float, float]] = defaultdict(lambda: defaultdict(float))
    for name, bound, count in _BUCKET.findall(text):
        found[name][float(bound)] += float(count)
    return _most(found, _PROMPT, "prompt"), _most(found, _OUTPUT, "output")


def _most(
    found: Mapping[str, Mapping[float, float]], pattern: re.Pattern[str], what: str
) -> Buckets:
    fitting = [cumulative for name, cumulative in found.items() if pattern.search(name)]
    if not fitting:
        raise UsageError(
            f"the metrics have no histogram of {what} lengths; a name that ends in "
            f"{what}_tokens_bucket is looked for."
        )
    return _buckets(max(fitting, key=lambda cumulative: max(cumulative.values())), what)


def _buckets(cumulative: Mapping[float, float], what: str) -> Buckets:
    bounds = sorted(bound for bound in cumulative if bound < math.inf)
    if not bounds or not max(cumulative.values()) > 0:
        raise UsageError(
            f"the histogram of {what} lengths has counted no request yet; send some first."
        )
    counts, before = [], 0.0
    for bound in bounds:
        counts.append(max(0.0, cumulative[bound] - before))
        before = max(before, cumulative[bound])
    # Of those above the last bound it is known only that they are: they count as that long.
    counts[-1] += max(0.0, cumulative.get(math.inf, before) - before)
    return Buckets(bounds=tuple(bounds), counts=tuple(counts))

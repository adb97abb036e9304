"""What was measured of one revision over a span of time: counts, never guesses.

A `Window` holds what was counted between two moments: requests by how they ended, latencies by
bucket, samples of queues. Windows of several gateways add up, so that a model behind five of
them is judged as one. A `Profile` is the other kind of baseline: figures that were stored.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations by bucket.

    Raises:
        ValueError: The bounds do not rise, a count is negative, or there is not one count more
            than bounds.
    """

    bounds: tuple[float, ...] = ()
    """Upper bounds, rising, finite."""
    counts: tuple[int, ...] = (0,)
    """Observations in (previous bound, bound], then those above all bounds; not cumulated."""

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError(f"{len(self.bounds)} bounds need as many counts and one more")
        if any(later <= earlier for earlier, later in pairwise(self.bounds)):
            raise ValueError(f"bucket bounds must rise: {self.bounds}")
        if min(self.counts) < 0:
            raise ValueError(f"a bucket holds {min(self.counts)} observations")

    @property
    def total(self) -> int:
        """All observations."""
        return sum(self.counts)

    def __add__(self, other: "Histogram") -> "Histogram":
        """Return both together; one without any observation fits every other.

        Raises:
            ValueError: Both have observations, in different buckets.
        """
        if self.bounds == other.bounds:
            pairs = zip(self.counts, other.counts, strict=True)
            return Histogram(self.bounds, tuple(a + b for a, b in pairs))
        if self.total and other.total:
            raise ValueError(f"buckets differ: {self.bounds} and {other.bounds}")
        return self if self.total else other

    def quantile(self, share: float) -> float:
        """Return the value below which `share` of the observations lie, between bounds by line.

        Linear inside a bucket, as Prometheus' histogram_quantile does; above the last bound
        nothing is known, and infinity says so. 0 for a histogram without observations.
        """
        total = self.total
        if not total:
            return 0.0
        wanted = min(max(share, 0.0), 1.0) * total
        sums = list(accumulate(self.counts))
        # The first bucket that reaches the rank; empty ones in front of it hold nothing.
        index = bisect_left(sums, wanted) if wanted > 0 else next(
            i for i, count in enumerate(self.counts) if count
        )  # fmt: skip
        if index >= len(self.bounds):
            return float("inf")
        low = self.bounds[index - 1] if index else 0.0
        part = (wanted - (sums[index] - self.counts[index])) / self.counts[index]
        return low + (self.bounds[index] - low) * max(0.0, part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One revision from `since` to `until` (Unix seconds)."""

    since: float
    until: float
    requests: int = 0
    """Requests that ended and say something of the revision; not those whose client left."""
    errors: int = 0
    """Of those: 5xx, no answer, or an answer that broke off."""
    refusals: int = 0
    """Of those: 4xx, the engine's word that the request is at fault."""
    timeouts: int = 0
    """Of those: time was up."""
    fallbacks: int = 0
    """Requests dealt to the revision that another revision, model or API answered; not among
    `requests`, since they ended elsewhere."""
    abandoned: int = 0
    """Requests whose client left before the answer was whole; not among `requests`. Clients leave
    for reasons of their own, and leave whoever keeps them waiting."""
    ttft: Histogram = Histogram()
    """Time to first token, seconds; one observation per streamed request."""
    waiting: Histogram = Histogram()
    """Streamed requests that had no first token at the newest reading, by the seconds they had
    waited; buckets are those of `ttft`. No count: it is what one moment shows."""
    itl: Histogram = Histogram()
    """Gaps between tokens, seconds; many observations per request."""
    prompt_lengths: Histogram = Histogram()
    """Prompts of requests that ended well, tokens; only those of users."""
    output_lengths: Histogram = Histogram()
    """Their outputs, tokens."""
    request_seconds: float = 0.0
    """Sum of the durations of requests that ended well."""
    in_flight_sum: float = 0.0
    """Sum of readings of the requests in flight; 0 where nobody was seen to wait for an answer."""
    output_tokens: int | None = None
    """Tokens generated; None where no engine was read."""
    queue_samples: int = 0
    """Readings of an engine's queue."""
    queue_sum: float = 0.0
    """Sum of those readings, waiting sequences."""
    kv_samples: int = 0
    """Readings of an engine's KV cache."""
    kv_sum: float = 0.0
    """Sum of those readings, ratios in [0, 1] of blocks in use."""

    @property
    def span_s(self) -> float:
        """How long it is, seconds."""
        return self.until - self.since

    @property
    def ttft_so_far(self) -> Histogram:
        """`ttft`, and what still waits entered at what it has waited: each of these takes at
        least as long (censored observations). `ttft` alone where the buckets differ."""
        same = not self.ttft.total or self.ttft.bounds == self.waiting.bounds
        return self.ttft + self.waiting if same else self.ttft

    def __add__(self, other: "Window") -> "Window":
        """Return both as one: what two sources counted of the same revision.

        Raises:
            ValueError: Their histograms have different buckets.
        """
        known = [n for n in (self.output_tokens, other.output_tokens) if n is not None]
        return Window(
            since=min(self.since, other.since),
            until=max(self.until, other.until),
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            refusals=self.refusals + other.refusals,
            timeouts=self.timeouts + other.timeouts,
            fallbacks=self.fallbacks + other.fallbacks,
            abandoned=self.abandoned + other.abandoned,
            ttft=self.ttft + other.ttft,
            waiting=self.waiting + other.waiting,
            itl=self.itl + other.itl,
            prompt_lengths=self.prompt_lengths + other.prompt_lengths,
            output_lengths=self.output_lengths + other.output_lengths,
            request_seconds=self.request_seconds + other.request_seconds,
            in_flight_sum=self.in_flight_sum + other.in_flight_sum,
            output_tokens=sum(known) if known else None,
            queue_samples=self.queue_samples + other.queue_samples,
            queue_sum=self.queue_sum + other.queue_sum,
            kv_samples=self.kv_samples + other.kv_samples,
            kv_sum=self.kv_sum + other.kv_sum,
        )


_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Profile:
    """Figures of a stored measurement, by metric name, for `baseline: Fixed`."""

    values: Mapping[str, float] = field(default_factory=lambda: _NOTHING)

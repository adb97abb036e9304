"""The command line of `pagelet bench` as it was typed, and what it asks for."""

from dataclasses import dataclass
from pathlib import Path

from pagelet_bench.core.errors import UsageError
from pagelet_bench.core.goodput import Slo
from pagelet_bench.core.profiles import Changes, adjusted, named
from pagelet_bench.core.ramp import Search
from pagelet_bench.core.workload import Profile
from pagelet_bench.key_file import read_key
from pagelet_bench.options import BenchOptions
from pagelet_bench.sources import from_metrics, from_trace

DEFAULT_PROFILE = "mixed48"
FIRST_RATE_PER_S = 1.0
"""Where a search begins that was not told; it doubles or halves from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """Parameters of the command, by their names in `bench_cli`."""

    url: str
    model: str | None
    api: str
    api_key: str | None
    api_key_file: Path | None
    profile: str | None
    trace: Path | None
    lengths_from: str | None
    requests: int | None
    duration: float | None
    concurrency: int | None
    rate: float | None
    burstiness: float | None
    turns: int | None
    think_seconds: float | None
    prefix_tokens: int | None
    prefix_groups: int | None
    seed: int | None
    vocab_size: int
    timeout: float
    slo_ttft: float | None
    slo_itl: float | None
    slo_e2e: float | None
    slo_share: float
    ramp: bool
    max_rate: float
    ramp_repeats: int
    ramp_precision: float
    trial_seconds: float
    json_path: Path | None
    markdown: Path | None
    html: Path | None

    def options(self) -> BenchOptions:
        """Return what is asked for.

        Raises:
            UsageError: It contradicts itself, or a value cannot be; the message names it.
            UnreachableError: Live metrics were asked for, and do not answer.
        """
        key = self.api_key if self.api_key_file is None else read_key(self.api_key_file)
        return BenchOptions(
            url=self.url,
            model=self.model,
            chat=self.api == "chat",
            profile=adjusted(self._profile(key), self._changes()),
            vocab_size=self.vocab_size,
            timeout_s=self.timeout,
            api_key=key,
            slo=self._slo(),
            search=self._search(),
            trial_s=self.trial_seconds,
            json_path=self.json_path,
            markdown_path=self.markdown,
            html_path=self.html,
        )

    def _profile(self, key: str | None) -> Profile:
        if (self.profile, self.trace, self.lengths_from).count(None) < 2:
            raise UsageError(
                "give one of profile, trace and lengths-from; each says how long requests are."
            )
        profile = named(self.profile or DEFAULT_PROFILE)
        if self.trace is not None:
            return from_trace(profile, self.trace)
        if self.lengths_from is not None:
            return from_metrics(profile, self.lengths_from, key)
        return profile

    def _changes(self) -> Changes:
        return Changes(
            requests=self.requests,
            duration_s=self.duration,
            concurrency=self.concurrency,
            rate_per_s=FIRST_RATE_PER_S if self.ramp and self.rate is None else self.rate,
            burstiness=self.burstiness,
            turns=self.turns,
            think_s=self.think_seconds,
            prefix_tokens=self.prefix_tokens,
            prefix_groups=self.prefix_groups,
            seed=self.seed,
        )

    def _slo(self) -> Slo | None:
        if (self.slo_ttft, self.slo_itl, self.slo_e2e) == (None, None, None):
            return None
        return Slo(
            ttft_s=self.slo_ttft, itl_s=self.slo_itl, e2e_s=self.slo_e2e, share=self.slo_share
        )

    def _search(self) -> Search | None:
        if not self.ramp:
            return None
        if self.requests is not None or self.duration is not None:
            raise UsageError(
                "a ramp sizes its trials by trial-seconds; leave requests and duration out."
            )
        return Search(
            start_per_s=FIRST_RATE_PER_S if self.rate is None else self.rate,
            most_per_s=self.max_rate,
            precision=self.ramp_precision,
            repeats=self.ramp_repeats,
        )

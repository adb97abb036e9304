"""The results of one endpoint, or of two beside each other: what differs, what fails."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pagelet_bench.core.check.trial import Outcome
from pagelet_bench.core.check.verdict import Need, Probe, Verdict, fails


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """What was found at one endpoint.

    Attributes:
        url: Without credentials.
        server: What calls itself the server, from its headers; may be empty.
    """

    url: str
    model: str
    server: str
    outcomes: tuple[Outcome, ...]

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many probes have each verdict; all verdicts are named."""
        counted = Counter(outcome.finding.verdict for outcome in self.outcomes)
        return {verdict: counted[verdict] for verdict in Verdict}

    @property
    def failing(self) -> tuple[Outcome, ...]:
        """The outcomes that make the check fail."""
        return tuple(o for o in self.outcomes if fails(o.finding.verdict, o.probe.need))


@dataclass(frozen=True, slots=True)
class Row:
    """One probe at one or two endpoints."""

    probe: Probe
    outcomes: tuple[Outcome, ...]

    @property
    def differs(self) -> bool:
        """Whether two endpoints give two verdicts."""
        return len({outcome.finding.verdict for outcome in self.outcomes}) > 1


def rows(reports: Sequence[EndpointReport]) -> list[Row]:
    """Put the same probe of all endpoints into a row, in the order of the first.

    A probe that was not asked at every endpoint has no row.
    """
    found: dict[str, list[Outcome]] = {}
    for report in reports:
        for outcome in report.outcomes:
            found.setdefault(outcome.probe.id, []).append(outcome)
    complete = [outcomes for outcomes in found.values() if len(outcomes) == len(reports)]
    return [Row(outcomes[0].probe, tuple(outcomes)) for outcomes in complete]


def summary(report: EndpointReport) -> str:
    """Say in one line how many probes came to which verdict."""
    counts = ", ".join(f"{count} {v.value}" for v, count in report.counts.items() if count)
    return f"{len(report.outcomes)} probes: {counts}"


def mark(outcome: Outcome) -> str:
    """Return the verdict as it is shown: `!` if it fails the check."""
    verdict = outcome.finding.verdict
    failing = fails(verdict, outcome.probe.need)
    return f"{verdict.value} !" if failing else verdict.value


def need_of(probe: Probe) -> str:
    """Return the need as it is shown; what is required needs no word."""
    return "" if probe.need is Need.REQUIRED else probe.need.value

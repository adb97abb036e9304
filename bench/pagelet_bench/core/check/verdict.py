"""What is said about a parameter, and how a probe comes to say it.

A probe is a generator: it yields the requests it needs, is sent the exchanges, and returns a
finding. It does no I/O, so the same recorded exchanges always give the same finding.
"""

import enum
from collections.abc import Callable, Generator
from dataclasses import dataclass

from pagelet_bench.core.check.exchange import Exchange, Request
from pagelet_bench.core.check.target import Target

MAX_EVIDENCE_CHARS = 300
MAX_REQUESTS = 8
"""Most requests of one probe: an endpoint that serves users is asked gently."""


class Verdict(enum.Enum):
    """What an endpoint does with a parameter."""

    HONOURED = "honoured"
    """Its effect was observed."""
    IGNORED = "ignored"
    """The request succeeds and the effect is not there."""
    REFUSED = "refused"
    """A 4xx, or 501, says no."""
    BROKEN = "broken"
    """5xx, no answer in time, a cut connection, or an answer clients cannot read."""
    UNTESTABLE = "not testable"
    """The evidence cannot be had here; the finding says why."""


class Need(enum.Enum):
    """How much clients depend on a behaviour, hence which verdicts fail the check."""

    REQUIRED = "required"
    """Clients of OpenAI's API rely on it: it must be honoured."""
    REFUSABLE = "refusable"
    """It may be refused, since clients notice; to ignore it changes answers unnoticed."""
    OPTIONAL = "optional"
    """Its absence harms nobody; only a broken answer counts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and the observation behind it, one sentence."""

    verdict: Verdict
    evidence: str


Steps = Generator[Request, Exchange, Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One question to an endpoint.

    Attributes:
        id: `group.name`, stable across versions.
        field: The parameter or behaviour, as the API names it.
        proves: The observation that counts as honoured.
    """

    id: str
    field: str
    proves: str
    need: Need
    steps: Callable[[Target], Steps]

    @property
    def group(self) -> str:
        """The part of the id before the first dot."""
        return self.id.partition(".")[0]


class JudgedError(Exception):
    """Ends a probe early, from inside a helper that read an answer."""

    def __init__(self, verdict: Verdict, evidence: str) -> None:
        super().__init__(evidence)
        self.finding = Finding(verdict, bounded(evidence))


def honoured(evidence: str) -> Finding:
    """Return the finding that the effect was observed."""
    return Finding(Verdict.HONOURED, bounded(evidence))


def ignored(evidence: str) -> Finding:
    """Return the finding that the effect is not there."""
    return Finding(Verdict.IGNORED, bounded(evidence))


def broken(evidence: str) -> Finding:
    """Return the finding that clients cannot use the answer."""
    return Finding(Verdict.BROKEN, bounded(evidence))


def untestable(evidence: str) -> Finding:
    """Return the finding that nothing can be said."""
    return Finding(Verdict.UNTESTABLE, bounded(evidence))


def when(holds: bool, yes: str, no: str) -> Finding:
    """Return `honoured(yes)` if `holds`, else `ignored(no)`."""
    return honoured(yes) if holds else ignored(no)


def fails(verdict: Verdict, need: Need) -> bool:
    """Whether this verdict makes the check fail."""
    match verdict:
        case Verdict.HONOURED | Verdict.UNTESTABLE:
            return False
        case Verdict.BROKEN:
            return True
        case Verdict.IGNORED:
            return need is not Need.OPTIONAL
        case Verdict.REFUSED:
            return need is Need.REQUIRED


def bounded(text: str) -> str:
    """Cut a text to MAX_EVIDENCE_CHARS and keep it on one line."""
    line = " ".join(text[: 4 * MAX_EVIDENCE_CHARS].split())
    return line if len(line) <= MAX_EVIDENCE_CHARS else line[: MAX_EVIDENCE_CHARS - 1] + "…"

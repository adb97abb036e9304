"""What the control plane needs of the world, and nothing more.

Three worlds implement these: `kube` (a cluster), `local` (processes on this machine) and
`testing` (memory). One contract suite runs against all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pagelet_operator.core.gate_report import Report
from pagelet_operator.core.gates import Gate, GateResult, GateRun
from pagelet_operator.core.model import Fleet, Model, ModelRef, Plan
from pagelet_operator.core.scaling.reading import ReplicaLoad
from pagelet_operator.core.window import Window


class UnavailableError(Exception):
    """The world did not answer. Nothing was decided on partial data; call again later."""


class IncompleteError(UnavailableError):
    """A part of a plan could not be carried out; the rest was. The message says which and why."""


class TelemetryError(Exception):
    """The figures could not be had; the message says from where. Nothing is concluded from it."""


class Telemetry(Protocol):
    """What users of a model feel, by revision."""

    async def windows(self, model: Model, fleet: Fleet, since: float) -> Mapping[str, Window]:
        """Return what was measured of each revision from `since` (Unix seconds) until now.

        A revision of which nothing was measured is left out. A window may be shorter than asked
        for, where the source remembers less; it never holds what was not counted.

        Args:
            model: Whose revisions.
            fleet: What the world shows of them, for sources that ask the replicas themselves.
            since: When the window should begin.

        Raises:
            TelemetryError: The source does not answer.
        """
        ...

    async def pieces(
        self, model: Model, fleet: Fleet, revision: str, since: float
    ) -> Sequence[Window]:
        """Return what was measured of one revision from `since` on, in pieces of time, in order.

        As short as the source can tell apart, down to one piece; none where nothing was measured.

        Raises:
            TelemetryError: The source does not answer.
        """
        ...

    async def loads(self, model: Model, fleet: Fleet) -> Mapping[str, ReplicaLoad]:
        """Return what each ready replica last told of its load, by endpoint; never fails.

        Whoever did not tell is left out; how old the words are, they say themselves.
        """
        ...


class Runtime(Protocol):
    """Replicas and traffic of models, somewhere."""

    async def observe(self, ref: ModelRef) -> Fleet:
        """Return every revision of the model that exists, complete or not at all.

        Raises:
            UnavailableError: The world did not answer.
        """
        ...

    async def apply(self, model: Model, plan: Plan) -> int:
        """Make the world as planned: create, change, publish traffic, then remove the rest.

        Safe to repeat and to interrupt at any point.

        Returns:
            How many writes it took; 0 for a world that is already as planned.

        Raises:
            IncompleteError: Some objects could not be written; all others were.
            UnavailableError: The world did not answer; what was done so far stays done.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOrder:
    """One try of a gate, with all that its program has to be told."""

    ref: ModelRef
    served_name: str
    run: GateRun
    gate: Gate
    canary: str
    """Base URL of one replica of the canary."""
    stable: str | None = None
    """Base URL of one replica of the stable revision, for gates that compare."""


class Gates(Protocol):
    """Programs that try a canary before users do."""

    async def observe(self, ref: ModelRef) -> Mapping[GateRun, GateResult]:
        """Return every try that is known, running or over, until it is stopped.

        What was measured is `Measured`, with figures that nobody has judged.

        Raises:
            UnavailableError: The world did not answer.
        """
        ...

    async def start(self, order: GateOrder) -> None:
        """Start a try; one that was started before is left alone.

        Raises:
            UnavailableError: The world did not answer.
        """
        ...

    async def keep(self, ref: ModelRef, report: Report) -> str:
        """Keep a report for people, in place of an older one of its name; say where it is.

        Raises:
            UnavailableError: The world did not answer, or has no room for it.
        """
        ...

    async def stop(self, ref: ModelRef, run: GateRun) -> None:
        """End a try if it runs, and forget it; fine if it is gone.

        Raises:
            UnavailableError: The world did not answer.
        """
        ...

"""The control loop of one machine: files in, processes and a route table out.

    files ──► desired models ─┐
    children's notices ───────┼──► reconcile() per model ──► ProcessRuntime ──► route table
    the clock ────────────────┘                                                  │
                                                                  gateway child ◄┘

Level-triggered like the cluster's: every turn reconciles every model, which costs microseconds
when nothing changed, so no event can be missed. A turn comes with each notice, each time that
a decision asked for, and four times a second to look at the files.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from pagelet_operator.api.resource import InvalidResourceError, to_model
from pagelet_operator.api.standing import Standing
from pagelet_operator.core.conditions import without
from pagelet_operator.core.figures import SPAN_S
from pagelet_operator.core.model import Model, ModelRef
from pagelet_operator.core.planning import Outcome
from pagelet_operator.core.rollout import RolloutState
from pagelet_operator.local.notices import Notices
from pagelet_operator.local.report import Event, Report
from pagelet_operator.local.runtime import SETTLE_S, ProcessRuntime
from pagelet_operator.local.service import KILL_MARGIN_S, Service
from pagelet_operator.local.spec_files import Resources, SpecFiles
from pagelet_operator.local.standing import decision_event, serves, standing_lines
from pagelet_operator.local.steering import Steering
from pagelet_operator.ports import UnavailableError
from pagelet_operator.reconcile import reconcile
from pagelet_operator.senses import NO_SENSES, Senses

TURN_S = 0.25
"""Longest time between two turns: how soon an edited file is noticed."""


class GatewayFailedError(Exception):
    """The gateway cannot start as configured; the message is its own sentence."""


@dataclass(slots=True)
class _Tracked:
    """One model and what is remembered of it between turns."""

    model: Model
    state: RolloutState
    outcome: Outcome | None = None
    said: Event | None = None
    trouble: str | None = None
    serves_since_s: float | None = None
    """Monotonic time from which the published table sends requests to a ready replica."""


class Supervisor:
    """Runs models from files until told to stop.

    Args:
        files: What to serve.
        runtime: Where replicas and traffic go; closed at the end.
        gateway: The data plane's process, not started yet; ended before the replicas.
        notices: The mailbox that `runtime` and `gateway` post to.
        report: Where events and standings go.
        url: Where clients send requests.
        drain_s: Longest wait for requests in flight once told to stop.
        senses: What a decision sees beside replicas.
        clock: Unix seconds.

    Attributes:
        steering: Takes commands to rollouts and says how they stand.
    """

    def __init__(
        self,
        *,
        files: SpecFiles,
        runtime: ProcessRuntime,
        gateway: Service,
        notices: Notices,
        report: Report,
        url: str,
        drain_s: float,
        senses: Senses = NO_SENSES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._runtime = runtime
        self._gateway = gateway
        self._notices = notices
        self._report = report
        self._url = url
        self._drain_s = drain_s
        self._senses = senses
        self.steering = Steering(notices.wake, url)
        self._clock = clock
        self._tracked: dict[ModelRef, _Tracked] = {}
        self._leaving: dict[ModelRef, Model] = {}
        self._announced: set[str] = set()
        self._stopping = False
        self._killing = asyncio.Event()

    def stop(self) -> None:
        """Finish what is in flight and end; a second call ends everything at once."""
        if self._stopping:
            self._killing.set()
        self._stopping = True
        self._notices.wake()

    async def run(self) -> int:
        """Serve until stopped; return the exit code. No child is left, however it ends.

        Returns:
            0 after a drain, 1 if the drain's time was up first, 130 if told twice to stop.

        Raises:
            GatewayFailedError: The gateway cannot start.
        """
        try:
            self._follow(self._files.resources)
            while not self._stopping:
                self._gateway_must_live()
                await self._turn()
                await self._notices.wait(self._pause_s())
            return await self._drain()
        finally:
            await self._kill()

    async def _turn(self) -> None:
        self._read_files()
        for ref, model in list(self._leaving.items()):
            await self._remove(ref, model)
        for tracked in self._tracked.values():
            await self._reconcile(tracked)
        self.steering.turned(self._tracked)
        self._tell()

    def _gateway_must_live(self) -> None:
        self._gateway.check()
        if not self._gateway.started:
            self._gateway.start()
        if self._gateway.failure is not None:
            raise GatewayFailedError(self._gateway.failure)

    def _read_files(self) -> None:
        try:
            resources = self._files.poll()
        except InvalidResourceError as error:
            self._report.event(Event(reason="Refused", message=f"{error} (nothing was changed)"))
            return
        if resources is not None:
            self._follow(resources)

    def _follow(self, resources: Resources) -> None:
        """Take over what the files say: new models, new generations, deletions, Secrets."""
        self._runtime.use_secrets(self._files.secrets)
        peers = _served_names(resources)
        for ref in self._tracked.keys() - resources.keys():
            self._leaving[ref] = self._tracked.pop(ref).model
            self._say(ref, "Deleted", "no file names it any more; it finishes its requests")
        for ref, resource in resources.items():
            model = to_model(resource, peers[ref.namespace])
            tracked = self._tracked.get(ref)
            if tracked is None:
                self._leaving.pop(ref, None)
                self._tracked[ref] = _Tracked(model, RolloutState())
                self._say(ref, "Accepted", f"its revision is {model.revision}")
            elif tracked.model.generation != model.generation:
                same = tracked.model.revision == model.revision
                what = "no replica restarts" if same else f"its revision is now {model.revision}"
                tracked.model = model
                self._say(ref, "Accepted", f"generation {model.generation}; {what}")
            else:
                tracked.model = model  # A fallback may have come or gone.
            if model.traffic.missing:
                self._say(ref, "FallbackMissing", without(model.traffic.missing))

    async def _remove(self, ref: ModelRef, model: Model) -> None:
        try:
            await self._runtime.remove(model)
        except UnavailableError as error:
            self._say(ref, "Unavailable", str(error))
            return
        del self._leaving[ref]

    async def _reconcile(self, tracked: _Tracked) -> None:
        model = tracked.model
        try:
            outcome = await reconcile(
                model,
                tracked.state,
                runtime=self._runtime,
                now=self._clock(),
                senses=self._senses,
                command=self.steering.command(model.ref),
                figures_since=self._clock() - SPAN_S,
                scaling=None if tracked.outcome is None else tracked.outcome.scaler,
            )
        except UnavailableError as error:
            if tracked.trouble != str(error):
                tracked.trouble = str(error)
                self._say(model.ref, "Unavailable", f"{error}; it is tried again")
            return
        tracked.state, tracked.outcome, tracked.trouble = outcome.state, outcome, None
        self.steering.note(model, outcome)
        if not serves(outcome):
            tracked.serves_since_s = None
        elif tracked.serves_since_s is None:
            tracked.serves_since_s = time.monotonic()

    def _tell(self) -> None:
        """Report notices, decisions that changed, standings, and who serves at last."""
        for reason, sentence in self._notices.take():
            self._report.event(Event(reason=reason, message=sentence))
        rows: list[Standing] = []
        for tracked in self._tracked.values():
            if tracked.outcome is None:
                continue
            event = decision_event(tracked.model, tracked.outcome)
            if tracked.said is None or tracked.said.details != event.details:
                tracked.said = event
                self._report.event(event)
            rows += standing_lines(tracked.model, tracked.outcome, self._clock())
        self._report.rows(rows)
        self._announce()

    def _announce(self) -> None:
        """Say where to send requests, each time that a model begins to serve."""
        serving = {t.model.served_name for t in self._tracked.values() if self._reachable(t)}
        if serving - self._announced:
            message = f"ready: {self._url} serves {', '.join(sorted(serving))}"
            details = {"url": self._url, "models": sorted(serving)}
            self._report.event(Event(reason="Serving", message=message, details=details))
        # A model that is deleted and comes back is announced again.
        self._announced = (self._announced | serving) & {
            t.model.served_name for t in self._tracked.values()
        }

    def _reachable(self, tracked: _Tracked) -> bool:
        """Whether the gateway has had the time to read a table in which the model serves."""
        since = tracked.serves_since_s
        up = self._gateway.endpoint is not None
        return up and since is not None and time.monotonic() - since >= SETTLE_S

    def _pause_s(self) -> float:
        outcomes = (tracked.outcome for tracked in self._tracked.values())
        wakes = [o.wake_at for o in outcomes if o is not None]
        ahead = [at - self._clock() for at in wakes if at is not None]
        # A time that has passed is no reason to spin: the next turn is soon enough.
        return min((s for s in ahead if 0 < s < TURN_S), default=TURN_S)

    def _say(self, ref: ModelRef, reason: str, message: str) -> None:
        self._report.event(Event(reason=reason, message=message, model=ref.name))

    async def _drain(self) -> int:
        """End the gateway once its streams are done, then the replicas; unless told again."""
        self._report.event(
            Event(
                reason="Stopping",
                message=f"requests in flight may finish for {self._drain_s:g} s; "
                f"a second signal ends them at once",
            )
        )
        drain = asyncio.create_task(self._end_in_order())
        told_again = asyncio.create_task(self._killing.wait())
        try:
            await asyncio.wait({drain, told_again}, return_when=asyncio.FIRST_COMPLETED)
            if not drain.done():
                return 130
            return drain.result()
        finally:
            told_again.cancel()
            if not drain.done():
                drain.cancel()

    async def _end_in_order(self) -> int:
        started_at = time.monotonic()
        await self._gateway.stop(self._drain_s + KILL_MARGIN_S)
        left_s = max(KILL_MARGIN_S, self._drain_s - (time.monotonic() - started_at))
        await self._runtime.close(left_s)
        cut = self._gateway.exit_code in (1, -signal.SIGKILL)
        message = "the time was up for some requests" if cut else "nothing is left running"
        self._report.event(Event(reason="Stopped", message=message))
        return 1 if cut else 0

    async def _kill(self) -> None:
        """Leave nobody behind; does nothing when all have ended."""
        self._gateway.kill()
        self._runtime.kill()
        await asyncio.gather(self._gateway.stop(0.0), self._runtime.close(0.0))


def _served_names(resources: Resources) -> dict[str, dict[str, str]]:
    """Return what clients call each ModelDeployment, by namespace and name."""
    names: dict[str, dict[str, str]] = {}
    for ref, resource in resources.items():
        names.setdefault(ref.namespace, {})[ref.name] = resource.served_name
    return names

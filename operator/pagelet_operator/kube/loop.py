"""The control loop of the cluster: one look at one resource, and who looks when.

`Controller.reconcile` is read, decide, act, report: it reads the resource and its children
anew each time, so what a watch said, or failed to say, never decides anything. Watches, the
clock and a periodic resync only put keys into the queue.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pagelet_operator.api import report
from pagelet_operator.api.resource import InvalidResourceError, parse, to_model
from pagelet_operator.api.scaling_status import scaler_state
from pagelet_operator.api.traffic_policy import named_models
from pagelet_operator.core.figures import SPAN_S
from pagelet_operator.core.model import Model, ModelRef
from pagelet_operator.core.planning import Outcome
from pagelet_operator.core.rollout import Command, parse_command
from pagelet_operator.core.scaling import ScalerState
from pagelet_operator.kube import manifests
from pagelet_operator.kube.api import (
    EVENTS,
    MODEL_DEPLOYMENTS,
    Api,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    NotFoundError,
    Object,
)
from pagelet_operator.kube.claims import Claims
from pagelet_operator.kube.command import DEFAULT_GATEWAY_URL
from pagelet_operator.kube.events import decision_event, scaling_event
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.peers import Dependents, served_names
from pagelet_operator.kube.queue import WorkQueue
from pagelet_operator.kube.runtime import KubeRuntime, NameTakenError
from pagelet_operator.ports import IncompleteError, UnavailableError
from pagelet_operator.reconcile import reconcile
from pagelet_operator.senses import NO_SENSES, Senses

log = logging.getLogger(__name__)

WORKERS = 8
"""Resources looked at at the same time; the time of one is spent waiting for the API server."""

RESYNC_S = 300.0
"""Between two looks at everything, seconds: what a lost watch event costs at most. A look takes
25 ms of one core, so a thousand resources cost 8 % of it."""

FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 60.0

CONFLICT_DELAY_S = 0.1
"""Before a resource that somebody else wrote meanwhile is read again, seconds."""

REFUSED_RETRY_S = 30.0
"""Between looks at a refused resource, seconds: what is in the way may go by itself."""

MIN_WAKE_S = 0.05
"""Shortest sleep until a decision's own time, seconds: clocks round, loops must not spin."""


class Controller:
    """Reconciles ModelDeployments of one namespace, or of all."""

    def __init__(
        self,
        api: Api,
        runtime: KubeRuntime,
        metrics: Metrics,
        *,
        namespace: str | None = None,
        gateway_url: str = DEFAULT_GATEWAY_URL,
        senses: Senses = NO_SENSES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            api: The API server.
            runtime: Where replicas are made.
            metrics: Where reconciles are counted.
            namespace: The namespace to serve; None for all.
            gateway_url: Where clients send requests, for `status.endpoint`.
            senses: What a decision sees beside replicas.
            clock: Unix seconds, for decisions.
        """
        self.queue: WorkQueue[ModelRef] = WorkQueue(time.monotonic)
        self.listed_at: float | None = None
        """When everything was listed last (monotonic seconds), None before the first time."""
        self.progressed_at = time.monotonic()
        """When a reconcile last ended, in whichever way."""
        self._api = api
        self._runtime = runtime
        self._metrics = metrics
        self._namespace = namespace
        self._gateway_url = gateway_url
        self._dependents = Dependents()
        self._claims = Claims()
        self._senses = senses
        self._clock = clock
        self._failures: dict[ModelRef, int] = {}
        # Readings, too: status holds what a scaler learned, and not what it looked at.
        self._scalers: dict[ModelRef, ScalerState | None] = {}

    def wake(self, ref: ModelRef) -> None:
        """Look at a resource that changed, and at those that fall back to it."""
        self.queue.add(ref)
        for dependent in self._dependents.of(ref):
            self.queue.add(dependent)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._resync())
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def reconcile(self, ref: ModelRef) -> float | None:
        """Look at one resource once; return when time alone asks for the next look.

        Raises:
            IncompleteError: Some objects could not be written; the status says so.
            UnavailableError: Something did not answer; nothing was decided on partial data.
            ConflictError: The resource changed meanwhile; its new version is to be decided on.
            NotFoundError: The resource was deleted meanwhile.
        """
        started = time.monotonic()
        live = await self._api.get(MODEL_DEPLOYMENTS, ref.namespace, ref.name)
        if live is None or "deletionTimestamp" in live["metadata"]:
            # Its children carry owner references: the garbage collector removes them.
            self._runtime.forget(ref)
            self._dependents.forget(ref)
            for other in self._claims.forget(ref):
                self.queue.add(other)
            self._scalers.pop(ref, None)
            self._metrics.forget(ref)
            return None
        before: dict[str, Any] = live.get("status") or {}
        now = round(self._clock(), 3)  # what status can hold
        writes = self._runtime.writes
        try:
            after, wake_at, trouble = await self._decide(live, before, now)
        finally:
            self._metrics.wrote(self._runtime.writes - writes)
        if after != before:
            await self._report(live, before, after, now)
        if trouble is not None:
            self._metrics.show(ref, after)
            if wake_at is not None:  # A deadline passes in trouble, too.
                self.queue.add(ref, max(MIN_WAKE_S, wake_at - now))
            raise IncompleteError(trouble)
        self._metrics.succeeded(ref, after, time.monotonic() - started, now)
        return wake_at

    async def _decide(
        self, live: Object, before: Mapping[str, Any], now: float
    ) -> tuple[dict[str, Any], float | None, str | None]:
        """Return the status after this look, when to look again, and what could not be done."""
        try:
            resource = parse(live)
            await self._claim(resource.served_name, live)
            model = to_model(resource, await served_names(self._api, resource))
            self._dependents.note(model.ref, named_models(resource.spec))
            state = report.state_from_status(before)
            outcome = await reconcile(
                model,
                state,
                runtime=self._runtime,
                now=now,
                senses=self._senses,
                command=_command(live),
                figures_since=now - SPAN_S if report.figures_due(before, now) else None,
                scaling=self._scalers.get(model.ref) or scaler_state(before),
            )
            self._scalers[model.ref] = outcome.scaler
        except (InvalidResourceError, NameTakenError) as error:
            after = report.rejected_status(str(error), live["metadata"]["generation"], before, now)
            return after, now + REFUSED_RETRY_S, None
        after = self._status(model, outcome, before, now)
        return after, outcome.wake_at, outcome.trouble

    async def _claim(self, served_name: str, live: Object) -> None:
        """Refuse a model name that an older ModelDeployment of the namespace has."""
        meta = live["metadata"]
        ref = ModelRef(meta["namespace"], meta["name"])
        for other in self._claims.note(ref, served_name, meta.get("creationTimestamp", "")):
            self.queue.add(other)
        older = self._claims.older(ref)
        if older is None:
            return
        found = await self._api.get(MODEL_DEPLOYMENTS, older.namespace, older.name)
        if found is None or "deletionTimestamp" in found["metadata"]:
            self._claims.forget(older)
            return
        raise InvalidResourceError(
            f"spec.model.name: {served_name!r} belongs to {older}, which is older; delete one of "
            f"the two, and create it again with a model.name of its own"
        )

    def _status(
        self, model: Model, outcome: Outcome, before: Mapping[str, Any], now: float
    ) -> dict[str, Any]:
        return report.status(
            model,
            outcome,
            before=before,
            endpoint=self._gateway_url,
            selector=manifests.selector(model.ref.name),
            gateway_key=(manifests.gateway_key_name(model.ref.name), manifests.GATEWAY_KEY),
            now=now,
        )

    async def _report(
        self, live: Object, before: Mapping[str, Any], after: dict[str, Any], now: float
    ) -> None:
        """Write the status, if nobody wrote meanwhile, then say what was decided."""
        await self._api.replace_status(MODEL_DEPLOYMENTS, {**live, "status": after})
        self._metrics.wrote(1)
        for news in (
            decision_event(live, before, after, now),
            scaling_event(live, before, after, now),
        ):
            if news is not None:
                await self._tell(live, news)

    async def _tell(self, live: Object, news: Object) -> None:
        meta = live["metadata"]
        log.info("%s/%s: %s: %s", meta["namespace"], meta["name"], news["reason"], news["note"])
        try:
            await self._api.create(EVENTS, news)
        except ApiError as error:
            # The status, which decides, is stored; an event only tells.
            log.warning("%s/%s: event not posted: %s", meta["namespace"], meta["name"], error)

    async def _work(self) -> None:
        while True:
            ref = await self.queue.take()
            try:
                await self._attempt(ref)
            finally:
                self.progressed_at = time.monotonic()
                self.queue.done(ref)
                self._metrics.queued(len(self.queue))

    async def _attempt(self, ref: ModelRef) -> None:
        try:
            wake_at = await self.reconcile(ref)
        except (ConflictError, NotFoundError):
            # Written, or deleted, by somebody else since it was read.
            self._metrics.failed("Conflict")
            self.queue.add(ref, CONFLICT_DELAY_S)
        except UnavailableError as error:
            self._metrics.failed("Unavailable")
            log.warning("%s: %s", ref, error)
            self._retry(ref, error)
        except Exception as error:  # The outer loop: count, log, go on.
            self._metrics.failed("Bug")
            log.exception("%s: reconcile failed", ref)
            self._retry(ref, error)
        else:
            self._failures.pop(ref, None)
            if wake_at is not None:
                self.queue.add(ref, max(MIN_WAKE_S, wake_at - self._clock()))

    def _retry(self, ref: ModelRef, error: Exception) -> None:
        count = self._failures[ref] = self._failures.get(ref, 0) + 1
        wish_s = error.retry_after_s if isinstance(error, ApiUnavailableError) else 0.0
        self.queue.add(
            ref, max(wish_s, min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(count - 1, 10)))
        )

    async def _resync(self) -> None:
        while True:
            try:
                items = await self._api.list(MODEL_DEPLOYMENTS, self._namespace)
            except ApiError as error:
                log.warning("cannot list ModelDeployments: %s", error)
                await asyncio.sleep(FIRST_BACKOFF_S)
                continue
            # All at once at the start; later evenly, or a change would wait behind them all.
            spread_s = 0.0 if self.listed_at is None else RESYNC_S / max(1, len(items))
            for index, item in enumerate(items):
                meta = item["metadata"]
                self.queue.add(ModelRef(meta["namespace"], meta["name"]), index * spread_s)
            self.listed_at = time.monotonic()
            await asyncio.sleep(RESYNC_S)


def _command(live: Object) -> Command | None:
    """Return the last command that somebody wrote on the resource."""
    text = live["metadata"].get("annotations", {}).get(manifests.COMMAND_ANNOTATION)
    return parse_command(text) if text else None

"""The operator's own metrics, `pagelet_operator_*`; label sets are bounded by the resources."""

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pagelet_operator.core.model import ModelRef
from pagelet_operator.core.rollout import Phase

_RESOURCE = ("namespace", "name")
_ROLES = ("stable", "canary")
_TROUBLES = ("Unavailable", "Conflict", "Bug")
_VERDICTS = ("Pass", "Fail", "Inconclusive", "Error")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)


class Metrics:
    """One operator process's series, in a registry of their own."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._seconds = Histogram(
            "pagelet_operator_reconcile_seconds", "Time of one reconcile.",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._errors = Counter(
            "pagelet_operator_reconcile_errors", "Reconciles that ended early, by kind of reason.",
            ("kind",), registry=registry,
        )  # fmt: skip
        for kind in _TROUBLES:
            self._errors.labels(kind)  # from 0, so that the first one shows as an increase
        self._writes = Counter(
            "pagelet_operator_writes", "Writes sent to the API server.", registry=registry
        )
        self._queue = Gauge(
            "pagelet_operator_queue_length", "Resources that wait, due or not.", registry=registry
        )
        self._works = Gauge(
            "pagelet_operator_works",
            "1 while this process works, 0 while it stands by for another.", registry=registry,
        )  # fmt: skip
        self._works.set(1)
        self._success = Gauge(
            "pagelet_operator_last_success_timestamp_seconds",
            "When the last reconcile succeeded, Unix seconds.", _RESOURCE, registry=registry,
        )  # fmt: skip
        self._weight = Gauge(
            "pagelet_operator_requested_weight_percent", "Traffic a role is meant to get.",
            (*_RESOURCE, "role"), registry=registry,
        )  # fmt: skip
        self._phase = Gauge(
            "pagelet_operator_phase", "1 for the phase a rollout is in.",
            (*_RESOURCE, "phase"), registry=registry,
        )  # fmt: skip
        self._revision = Gauge(
            "pagelet_operator_revision_info",
            "Always 1; labels give the revision that has a role, and the name clients send.",
            (*_RESOURCE, "model", "role", "revision"), registry=registry,
        )  # fmt: skip
        self._verdict = Gauge(
            "pagelet_operator_verdict",
            "1 for what the last look at the canary in its current step said.",
            (*_RESOURCE, "verdict"), registry=registry,
        )  # fmt: skip
        self._condition = Gauge(
            "pagelet_operator_condition",
            "Always 1; labels give a condition's status and reason as they are now.",
            (*_RESOURCE, "condition", "status", "reason"), registry=registry,
        )  # fmt: skip
        self._replicas = Gauge(
            "pagelet_operator_desired_replicas",
            "Replicas that the scaler decided; labels give the reason that holds the number.",
            (*_RESOURCE, "reason"), registry=registry,
        )  # fmt: skip

    def exposition(self) -> bytes:
        """Return all series in Prometheus' text format."""
        text: bytes = generate_latest(self._registry)
        return text

    def succeeded(
        self, ref: ModelRef, status: Mapping[str, Any], seconds: float, now: float
    ) -> None:
        """Count a reconcile that ended with this status."""
        self._seconds.observe(seconds)
        self._success.labels(ref.namespace, ref.name).set(now)
        self.show(ref, status)

    def show(self, ref: ModelRef, status: Mapping[str, Any]) -> None:
        """Say what the status says, whether or not everything could be done."""
        key = (ref.namespace, ref.name)
        rollout = status.get("rollout") or {}
        for role in _ROLES:
            weight = (status.get(role) or {}).get("weight", 0)
            self._weight.labels(*key, role).set(weight)
        for item in Phase:
            self._phase.labels(*key, item.value).set(int(item.value == rollout.get("phase")))
        assessed = (rollout.get("assessment") or {}).get("verdict")
        for verdict in _VERDICTS:
            self._verdict.labels(*key, verdict).set(int(verdict == assessed))
        self._drop(ref, self._revision, self._condition, self._replicas)
        if scaling := status.get("scaling"):
            self._replicas.labels(*key, scaling["reason"]).set(scaling["replicas"])
        model = (status.get("traffic") or {}).get("name", ref.name)
        for role in _ROLES:
            if revision := (status.get(role) or {}).get("revision"):
                self._revision.labels(*key, model, role, revision).set(1)
        for found in status.get("conditions") or ():
            self._condition.labels(*key, found["type"], found["status"], found["reason"]).set(1)

    def failed(self, kind: str) -> None:
        """Count a reconcile that did not end: Unavailable, Conflict or Bug."""
        self._errors.labels(kind).inc()

    def wrote(self, count: int) -> None:
        """Count writes."""
        self._writes.inc(count)

    def queued(self, length: int) -> None:
        """Say how many resources wait."""
        self._queue.set(length)

    def works_while(self, working: Callable[[], bool]) -> None:
        """Ask, at each look at the series, whether this process works."""
        self._works.set_function(lambda: float(working()))

    def forget(self, ref: ModelRef) -> None:
        """Drop the series of a resource that is gone."""
        self._drop(ref, self._success, self._weight, self._phase)
        self._drop(ref, self._revision, self._verdict, self._condition, self._replicas)

    @staticmethod
    def _drop(ref: ModelRef, *families: Gauge) -> None:
        for family in families:
            family.remove_by_labels({"namespace": ref.namespace, "name": ref.name})

"""Series per tenant. The labels come from the route table, never from a client.

Where a model is open to everybody the tenant's label is empty. Series of a tenant that left
the table go when it has nothing in flight.
"""

from collections import Counter as Tally
from collections.abc import Container

from prometheus_client import CollectorRegistry, Counter, Gauge

Key = tuple[str, str]
"""Model and tenant."""


class TenantMetrics:
    """What each tenant of each model uses and is refused."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("model", "tenant")
        self.rejected = Counter(
            "pagelet_gateway_tenant_rejected_total",
            "Requests refused by caps and quotas, by error code.",
            (*labels, "reason"),
            registry=registry,
        )
        self.tokens = Counter(
            "pagelet_gateway_tenant_tokens_total",
            "Tokens charged, prompt and output together, when the request ended.",
            labels,
            registry=registry,
        )
        self.in_flight = Gauge(
            "pagelet_gateway_tenant_requests_in_flight",
            "Admitted requests that have not ended.",
            labels,
            registry=registry,
        )
        self.store_errors = Counter(
            "pagelet_gateway_quota_store_errors_total",
            "Calls to the quota store that failed.",
            registry=registry,
        )
        self._flying: Tally[Key] = Tally()
        self._labelled: set[Key] = set()

    def reject(self, key: Key, reason: str) -> None:
        """Count a refusal."""
        self._labelled.add(key)
        self.rejected.labels(*key, reason).inc()

    def begin(self, key: Key) -> None:
        """Count a request as in flight."""
        self._labelled.add(key)
        self._flying[key] += 1
        self.in_flight.labels(*key).set(self._flying[key])

    def end(self, key: Key, tokens: int) -> None:
        """Undo one `begin` and count what was charged."""
        self._flying[key] -= 1
        self.in_flight.labels(*key).set(self._flying[key])
        self.tokens.labels(*key).inc(tokens)

    def keep_only(self, keys: Container[Key]) -> None:
        """Drop the series of all others that have nothing in flight."""
        for key in [key for key in self._labelled if key not in keys and not self._flying[key]]:
            self._labelled.discard(key)
            del self._flying[key]
            for family in (self.rejected, self.tokens, self.in_flight):
                family.remove_by_labels({"model": key[0], "tenant": key[1]})

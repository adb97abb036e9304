"""The observed share of each revision as a series, computed when it is scraped."""

import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from pagelet_gateway.core.shares import ShareWindow


class ObservedShares:
    """Collects what share of a model's requests each revision answered in the last minute."""

    def __init__(self) -> None:
        self._window = ShareWindow()

    def count(self, model: str, revision: str) -> None:
        """Count one request that `revision` answers."""
        self._window.count(model, revision, time.monotonic())

    def shares(self) -> dict[tuple[str, str], float]:
        """Ratio of its model's requests by (model, revision), of the last minute."""
        return self._window.shares(time.monotonic())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the one family, for the registry."""
        family = GaugeMetricFamily(
            "pagelet_gateway_observed_share_ratio",
            "Share of the model's requests that this revision answered in the last minute.",
            labels=("model", "revision"),
        )
        for key, share in self.shares().items():
            family.add_metric(key, share)
        yield family

"""A histogram cheap enough for every chunk of every stream."""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import HistogramMetricFamily


class FastHistogram:
    """A histogram for the per-chunk path: one bisection and two additions per observation.

    PERF: prometheus_client's Histogram walks its buckets under locks, about 2 µs; at 20,000
    chunks a second that is 4 % of a core. This one needs 0.2 µs, and belongs to one thread.
    """

    def __init__(
        self, name: str, documentation: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._buckets = buckets
        self._children: dict[tuple[str, ...], _Series] = {}

    def labels(self, *values: str) -> "_Series":
        """The series of these label values; made on first use."""
        return self._children.setdefault(values, _Series(self._buckets))

    def remove(self, *values: str) -> None:
        """Forget a series.

        Raises:
            KeyError: There is none.
        """
        del self._children[values]

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper bounds of the buckets; the last bucket has none."""
        return self._buckets

    def counts(self) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
        """Yield each series' label values and what was observed per bucket, not cumulated."""
        for values, series in self._children.items():
            yield values, series.counts()

    def counts_of(self, *values: str) -> tuple[int, ...] | None:
        """Return what one series observed, as `counts`; None if there is none."""
        series = self._children.get(values)
        return None if series is None else series.counts()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the one family, for the registry."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in self._children.items():
            family.add_metric(values, buckets=series.cumulated(), sum_value=series.sum)
        yield family


class _Series:
    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self.sum += value * times

    def counts(self) -> tuple[int, ...]:
        return tuple(self._counts)

    def cumulated(self) -> list[tuple[str, int]]:
        total, rows = 0, []
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            rows.append((str(bound), total))
        return rows

"""Telemetry for tests: windows as told, and what was asked."""

from collections.abc import Mapping, Sequence

from pagelet_operator.core.model import Fleet, Model
from pagelet_operator.core.scaling.reading import ReplicaLoad
from pagelet_operator.core.window import Window
from pagelet_operator.ports import TelemetryError


class Figures:
    """Says what it is told to; an outage where that is None."""

    def __init__(self, windows: Mapping[str, Window] | None = None) -> None:
        self.told = windows
        self.told_loads: Mapping[str, ReplicaLoad] = {}
        self.asked: list[float] = []

    async def windows(self, model: Model, fleet: Fleet, since: float) -> Mapping[str, Window]:
        self.asked.append(since)
        if self.told is None:
            raise TelemetryError("no gateway answers")
        return self.told

    async def pieces(
        self, model: Model, fleet: Fleet, revision: str, since: float
    ) -> Sequence[Window]:
        found = (await self.windows(model, fleet, since)).get(revision)
        return () if found is None else self.split(found)

    async def loads(self, model: Model, fleet: Fleet) -> Mapping[str, ReplicaLoad]:
        return self.told_loads

    def split(self, found: Window) -> Sequence[Window]:
        return (found,)

"""The load that measures the gateway, without a proxy: it must count what it wrote."""

import importlib
import math
import sys
from pathlib import Path

import pytest

FOLDER = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(scope="module")
def load():
    sys.path.insert(0, FOLDER)
    try:
        return importlib.import_module("relay_load")
    finally:
        sys.path.remove(FOLDER)


@pytest.fixture(scope="module")
def plans(load):
    return sys.modules["relay_plan"]


@pytest.fixture
def ends(load):
    loop = load.Loop()
    engine = load.Engine(loop)
    yield loop, engine
    loop.close()


PLANS = [
    ("OPEN_LOOP", {"interval_s": 0.01, "num_events": 5, "window_s": 0.1}),
    ("IN_STEP", {"interval_s": 0.01, "num_events": 5, "window_s": 0.1}),
    ("ONE_BY_ONE", {"window_s": 0.05}),
    ("FLOOD", {"num_events": 30, "ramp_s": 0.0, "window_s": math.inf}),
]


@pytest.mark.parametrize(("pace", "fields"), PLANS)
def test_every_event_written_is_read_and_every_stream_ends(load, plans, ends, pace, fields):
    loop, engine = ends
    pace = next(each for each in plans.Pace if each.name == pace)
    plan = plans.Plan(pace=pace, streams=4, **{"ramp_s": 0.01, **fields})
    probes = []
    found = load.run(loop, engine, plan, load.Ask(port=engine.port), probe=lambda: probes.append(1))
    assert found.num_read == found.num_written > 0
    assert found.num_whole == found.num_streams >= 4
    assert len(probes) == 2
    assert len(found.latencies_s) <= found.num_in_window <= found.num_read
    assert all(latency_s >= 0 for latency_s in found.latencies_s)


def test_an_engine_that_falls_behind_makes_latencies_longer(load, plans, ends):
    """Events are stamped with the time they were due, so a late one counts as late."""
    loop, engine = ends
    plan = plans.Plan(
        pace=plans.Pace.OPEN_LOOP, streams=2, interval_s=0.01, ramp_s=0.01, window_s=0.1
    )
    work, late_s = engine.work, 0.05

    def slow_work(now: float) -> float:
        work(now - late_s)
        return 0.0

    engine.work = slow_work
    found = load.run(loop, engine, plan, load.Ask(port=engine.port))
    assert min(found.latencies_s) >= late_s

"""The gateway reads an engine's queue out of what the engine exports."""

import msgspec

from pagelet_engine.messages import EngineStats
from pagelet_engine.metrics import EngineMetrics
from pagelet_gateway.core.load_report import LoadReport, parse


def test_the_gateway_finds_the_queue_in_an_engines_metrics():
    metrics = EngineMetrics('odd "name" } 7')
    numbers = {field.name: 0 for field in msgspec.structs.fields(EngineStats) if field.required} | {
        "num_waiting": 5,
        "num_running": 3,
    }
    stats = EngineStats(**numbers)
    metrics.attach(
        stats=lambda: stats, limits=lambda: None, num_open=lambda: 0, silence_s=lambda: 0.0
    )
    assert parse(metrics.exposition()) == LoadReport(waiting=5, running=3)

"""Gateways and engines export the lengths that `pagelet plan --lengths-from` reads."""

import pytest

from pagelet_engine.series import ALL_SERIES
from pagelet_gateway.metrics import Metrics
from pagelet_operator.planner import lengths


def test_a_gateway_s_own_metrics_are_read():
    metrics = Metrics()
    for prompt, output in ((300, 20), (300, 20), (3000, 200)):
        metrics.prompt_tokens.labels("chat", "chat-1").observe(prompt)
        metrics.output_tokens.labels("chat", "chat-2").observe(output)
    mix = lengths.from_metrics(metrics.render().decode(), "chat", "u")
    assert 256 < mix.prompts.p50 <= 512 < mix.prompts.mean < 2048 < mix.prompts.p99
    assert 16 < mix.outputs.p50 <= 32 < mix.outputs.mean < 128 < mix.outputs.p99


@pytest.mark.parametrize("names", [lengths.PROMPT_SERIES, lengths.OUTPUT_SERIES])
def test_an_engine_s_histograms_are_among_those_looked_for(names):
    exported = {series.name for series in ALL_SERIES if series.kind == "histogram"}
    assert exported & set(names)

"""docs/reference/metrics.md: current, and of all three parts."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pagelet.reference import PAGE, Row, engine_rows, main, page, registry_rows

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_current():
    assert (ROOT / PAGE).read_text("utf-8") == page(), "run make generate"


@pytest.mark.parametrize(
    "series",
    [
        "vllm:kv_cache_usage_perc",
        "pagelet_engine_queue_time_seconds",
        "pagelet_gateway_inter_token_latency_seconds",
        "pagelet_operator_phase",
    ],
)
def test_each_part_is_on_the_page(series):
    assert f"| `{series}` |" in page()


def test_series_without_values_are_shown_with_type_and_labels():
    registry = CollectorRegistry()
    Counter("a_total", "A.", ("x", "y"), registry=registry)
    Gauge("b", "B.", registry=registry)
    Histogram("c_seconds", "C.", ("z",), registry=registry)
    assert registry_rows(registry) == [
        Row("a_total", "counter", ("x", "y"), "A."),
        Row("b", "gauge", (), "B."),
        Row("c_seconds", "histogram", ("z",), "C."),
    ]


def test_every_series_of_the_engine_names_its_model():
    assert all(row.labels[0] == "model_name" for row in engine_rows())


def test_a_stale_page_is_told_and_written(tmp_path, capsys):
    assert main(["--check"], tmp_path) == 1
    assert PAGE in capsys.readouterr().out
    assert not (tmp_path / PAGE).exists()
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    assert (tmp_path / PAGE).read_text("utf-8") == page()

import json
from pathlib import Path

import pytest

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.planner.measured_file import read_run

ROOT = Path(__file__).resolve().parents[3]
REPORT = {
    "ok": 4, "prompt_tokens": 400, "output_tokens": 80, "ttft": {"p50_s": 0.1},
    "mean_itl": {"p50_s": 0.02},
}  # fmt: skip
RESULT = {
    "hardware": {"memory_bytes": 2**34, "gpus": []}, "workload": {"concurrency": 1},
    "report": REPORT,
}  # fmt: skip


def read(tmp_path, document):
    path = tmp_path / "run.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_run(path)


def test_a_result_of_the_load_generator_is_read(tmp_path):
    run = read(tmp_path, RESULT)
    assert (run.prompt_tokens, run.output_tokens, run.ttft_s, run.itl_s) == (100, 20, 0.1, 0.02)
    assert run.device_bytes == 2**34


def test_a_gpu_s_memory_is_not_its_machine_s(tmp_path):
    hardware = {"memory_bytes": 2**38, "gpus": ["H100"]}
    assert read(tmp_path, RESULT | {"hardware": hardware}).device_bytes is None


def test_the_benchmark_s_result_is_read():
    run = read_run(ROOT / "benchmarks/results/serving-cpu-2026-11-23.json")
    assert run.prompt_tokens == run.output_tokens == 128
    assert 0.1 < run.ttft_s < 0.3


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("{", "is not JSON"),
        ({}, "is not a result of `pagelet bench --concurrency 1 --json`"),
        ([], "is not a result of"),
        (RESULT | {"workload": {"concurrency": 8}}, "ran beside each other"),
        (RESULT | {"workload": {"concurrency": None}}, "ran beside each other"),
        (RESULT | {"report": REPORT | {"ok": 0}}, "is not a result of"),
        (RESULT | {"report": REPORT | {"ttft": None}}, "is not a result of"),
        (RESULT | {"report": REPORT | {"mean_itl": {"p50_s": 0.0}}}, "0.0 where something"),
    ],
)
def test_what_is_no_such_result_is_refused(tmp_path, document, named):
    with pytest.raises(PlanError, match=r"--measured .*run\.json") as error:
        read(tmp_path, document)
    assert named in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"--measured .*none\.json: cannot be read"):
        read_run(tmp_path / "none.json")

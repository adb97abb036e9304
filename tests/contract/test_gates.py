"""What the operator tells `pagelet gate`, and what that says back: both sides agree."""

import json

import pytest
import typer
from typer.testing import CliRunner

from bench_server import ScriptedServer, completion
from pagelet_bench import cli
from pagelet_bench.core.gates import summary
from pagelet_bench.core.profiles import PROFILES
from pagelet_bench.gates.command import KINDS, GateOptions, measure
from pagelet_operator.core import gate_summary
from pagelet_operator.core.gate_command import arguments
from pagelet_operator.core.gate_report import CURVE_PERCENTS
from pagelet_operator.core.gate_tries import judge
from pagelet_operator.core.gates import Gate, GateKind, GateStatus
from pagelet_operator.core.load_profile import LATENCIES


def test_every_gate_is_one_the_program_knows():
    assert set(KINDS) == {kind.value for kind in GateKind}


def test_the_program_understands_what_the_operator_tells_it(tmp_path):
    app = typer.Typer()
    cli.register(app)
    path = tmp_path / "summary.json"
    args = arguments(
        Gate(GateKind.PARITY, {"maxTokens": 3, "prompts": ["a 'b' \"c\""]}, 60.0),
        served_name="m",
        canary="http://127.0.0.1:1",
        stable="http://127.0.0.1:2",
        key_file=None,
        summary=str(path),
    )
    assert CliRunner().invoke(app, args).exit_code == 2
    result = gate_summary.read(path.read_bytes())
    assert result.status is GateStatus.ERROR
    assert "cannot be reached" in result.message


def test_the_operator_reads_what_the_program_writes():
    assert gate_summary.SCHEMA_VERSION == summary.SCHEMA_VERSION
    assert gate_summary.MAX_BYTES == summary.MAX_BYTES
    written = summary.encoded(summary.document("warmup", {"requests": 4}, "said"))
    result = gate_summary.read(written)
    assert (result.status, result.figures) == (GateStatus.MEASURED, {"requests": 4.0})


def test_curves_are_read_at_the_percentiles_they_are_written_at():
    assert CURVE_PERCENTS == summary.CURVE_PERCENTS
    values = [0.001 * n for n in CURVE_PERCENTS]
    written = summary.encoded(
        summary.document("loadTest", {}, curves={"ttft": summary.curve(values)})
    )
    assert set(gate_summary.read(written).curves) == {"ttft"}


def test_what_is_compared_is_measured():
    figures = set(summary.load_figures([], 1))
    assert {sample for sample, _ in LATENCIES.values()} <= figures
    assert "outputTokensPerSecond" in figures


def test_the_profiles_a_resource_may_name_exist():
    assert {"mixed48", "single"} <= set(PROFILES)


@pytest.mark.parametrize(
    ("gap_s", "status"), [(0.005, GateStatus.PASSED), (0.1, GateStatus.FAILED)]
)
async def test_a_slow_canary_fails_the_load_test(gap_s, status):
    settings = {"profile": "mixed48", "requests": 3, "concurrency": 3}
    limits = {"maxIncreasePercent": 100.0, "maxDecreasePercent": 90.0, "maxErrorPercent": 0.0}
    gate = Gate(GateKind.LOAD_TEST, settings, 60.0, limits)
    async with ScriptedServer(lambda body: completion(body, gap_s=gap_s)).listening() as server:
        options = GateOptions(kind="loadTest", url=server.url, settings=json.dumps(settings))
        written = summary.encoded(await measure(options))
    figures = gate_summary.read(written).figures
    # Of stable: what the fast one is meant to be, with room for a busy machine.
    stable = dict(figures) | {"itlP50": 0.02, "itlP95": 0.05, "itlP99": 0.1}
    stable |= {"outputTokensPerSecond": 3 / 0.02}
    result = judge(gate, figures, stable if gap_s > 0.05 else figures)
    assert result.status is status, result.message
    assert ("itlP50" in result.message) == (status is GateStatus.FAILED)

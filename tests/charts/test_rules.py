"""Alerts fire where they have to and not where they must not, and each leads to a runbook entry.

Prometheus' own promtool computes; each case is a history of series, one value a minute.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest
import yaml

from chart_render import CHART, ROOT, one, render

RULES = CHART / "files" / "rules.yaml"
RUNBOOK = ROOT / "docs" / "runbook.md"

History = dict[str, str]
"""Values by series, in promtool's notation: `a+bxn` is a, and n more, each b above the last."""

promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    promtool is None, reason="promtool is not on PATH; on Debian: apt-get install prometheus"
)


@dataclass(frozen=True)
class Case:
    fires: History
    quiet: list[History]
    at: str


def requests(**by_outcome: str) -> History:
    return {
        f'pagelet_gateway_requests_total{{model="m",revision="r",outcome="{outcome}"}}': values
        for outcome, values in by_outcome.items()
    }


def starts(in_time: str, all_: str) -> History:
    name = "pagelet_gateway_time_to_first_token_seconds"
    return {
        f'{name}_bucket{{model="m",revision="r",le="2.0"}}': in_time,
        f'{name}_count{{model="m",revision="r"}}': all_,
    }


def condition(kind: str, status: str, values: str) -> History:
    labels = f'namespace="n",name="a",condition="{kind}",status="{status}",reason="R"'
    return {f"pagelet_operator_condition{{{labels}}}": values}


def phase(name: str, values: str, weight: str = "0x400") -> History:
    return {
        f'pagelet_operator_phase{{namespace="n",name="a",phase="{name}"}}': values,
        'pagelet_operator_requested_weight_percent{namespace="n",name="a",role="canary"}': weight,
    }


def cache(usage: str, preemptions: str) -> History:
    return {
        'vllm:kv_cache_usage_perc{model_name="m",instance="i"}': usage,
        'pagelet_engine_preemptions_total{model_name="m",instance="i"}': preemptions,
    }


def one_series(name: str, values: str, labels: str = "") -> History:
    return {f"{name}{{{labels}}}": values}


WAITING = ("vllm:num_requests_waiting", 'model_name="m",instance="i"')
WATCHING = ("pagelet_gateway_source_watching", 'instance="i",kind="EndpointSlice"')
BREAKER = ("pagelet_gateway_breaker_state", 'model="m",revision="r"')
SUCCESS = ("pagelet_operator_last_success_timestamp_seconds", 'namespace="n",name="a"')
BUGS = ("pagelet_operator_reconcile_errors_total", 'kind="Bug"')


def of(series: tuple[str, str], values: str) -> History:
    return one_series(series[0], values, series[1])


CASES = {
    "PageletErrorsBurnFast": Case(
        fires=requests(ok="0+90x90", cut="0+10x90", client_error="0+100x90"),
        quiet=[
            requests(ok="0+95x90", cut="0+5x90"),
            requests(ok="0+100x90", timeout="0x72 0+30x18"),
            requests(ok="0+90x90", cut="0+20x70 1400x20"),
            requests(ok="0+10x90", client_gone="0+90x90", client_error="0+90x90"),
        ],
        at="80m",
    ),
    "PageletErrorsBurnSlow": Case(
        fires=requests(ok="0+96x450", unavailable="0+4x450"),
        quiet=[
            requests(ok="0+98x450", unavailable="0+2x450"),
            requests(ok="0+96x450", unavailable="0+4x380 1520x70"),
        ],
        at="430m",
    ),
    "PageletSlowStartsBurnFast": Case(
        fires=starts("0+20x90", "0+100x90"),
        quiet=[starts("0+50x90", "0+100x90"), starts("0x90", "0x90")],
        at="80m",
    ),
    "PageletSlowStartsBurnSlow": Case(
        fires=starts("0+60x450", "0+100x450"),
        quiet=[
            starts("0+80x450", "0+100x450"),
            starts("0+60x380 22900+100x69", "0+100x450"),
        ],
        at="430m",
    ),
    "PageletFallbacksFrequent": Case(
        fires=requests(ok="0+100x60")
        | one_series("pagelet_gateway_fallbacks_total", "0+10x60", 'model="m",to="b",reason="x"'),
        quiet=[
            requests(ok="0+100x60")
            | one_series("pagelet_gateway_fallbacks_total", "0+2x60", 'model="m",to="b",reason="x"')
        ],
        at="30m",
    ),
    "PageletBreakerOpen": Case(
        fires=of(BREAKER, "2x10"),
        quiet=[of(BREAKER, "1x10"), of(BREAKER, "0 0 0 0 2 0 0 0 0")],
        at="5m",
    ),
    "PageletNotReady": Case(
        fires=condition("Ready", "False", "1x20"),
        quiet=[
            condition("Ready", "True", "1x20"),
            condition("Ready", "False", "1x4 stale"),
            condition("Progressing", "False", "1x20"),
        ],
        at="15m",
    ),
    "PageletGatewayBlind": Case(
        fires=of(WATCHING, "0x10"), quiet=[of(WATCHING, "1x10"), of(WATCHING, "0x3 1x7")], at="7m"
    ),
    "PageletQueueGrows": Case(
        fires=of(WAITING, "0+2x40"),
        quiet=[of(WAITING, "50x40"), of(WAITING, "0+0.1x40"), of(WAITING, "100-2x40")],
        at="35m",
    ),
    "PageletKVCachePressure": Case(
        fires=cache("0.99x40", "0+6x40"),
        quiet=[cache("0.99x40", "0x40"), cache("0.5x40", "0+6x40")],
        at="30m",
    ),
    "PageletEngineSilent": Case(
        fires=one_series("pagelet_engine_silence_seconds", "40x5", 'model_name="m",instance="i"'),
        quiet=[one_series("pagelet_engine_silence_seconds", "2x5", 'model_name="m",instance="i"')],
        at="3m",
    ),
    "PageletCanaryWithdrawn": Case(
        fires=phase("Failed", "1x5"),
        quiet=[phase("Failed", "0x5"), phase("Progressing", "1x5")],
        at="3m",
    ),
    "PageletRolloutStuck": Case(
        fires=phase("Progressing", "1x300", "25x300"),
        quiet=[
            phase("Progressing", "1x300", "5x59 10x59 25x59 50x59 75x59"),
            phase("AwaitingApproval", "1x300", "25x300"),
            phase("Stable", "1x300"),
        ],
        at="250m",
    ),
    "PageletPerformanceNotValidated": Case(
        fires=condition("PerformanceValidated", "False", "1x50"),
        quiet=[condition("PerformanceValidated", "True", "1x50")],
        at="40m",
    ),
    "PageletResourceRefused": Case(
        fires=condition("Accepted", "False", "1x10"),
        quiet=[condition("Accepted", "True", "1x10"), condition("Accepted", "False", "1x2 stale")],
        at="8m",
    ),
    "PageletOperatorNotProcessing": Case(
        fires=of(SUCCESS, "0x40"), quiet=[of(SUCCESS, "0+60x40"), {}], at="30m"
    ),
    "PageletOperatorAbsent": Case(
        fires=of(WATCHING, "1x20") | one_series("pagelet_operator_works", "0x20", 'pod="a"'),
        quiet=[
            of(WATCHING, "1x20")
            | one_series("pagelet_operator_works", "0x20", 'pod="a"')
            | one_series("pagelet_operator_works", "1x20", 'pod="b"'),
            {},
        ],
        at="15m",
    ),
    "PageletOperatorErrors": Case(
        fires=of(BUGS, "0x5 1x5"),
        quiet=[
            of(BUGS, "1x10"),
            one_series(BUGS[0], "0+1x10", 'kind="Conflict"'),
        ],
        at="8m",
    ),
}  # fmt: skip


def groups() -> list[dict]:
    return yaml.safe_load(RULES.read_text("utf-8"))["groups"]


def alerts() -> dict[str, dict]:
    found = [rule for group in groups() for rule in group["rules"] if "alert" in rule]
    assert len({rule["alert"] for rule in found}) == len(found)
    return {rule["alert"]: rule for rule in found}


def document(*, hours: bool) -> dict:
    """Return the cases that take hours, or the others, as a file for promtool."""
    tests = []
    for name, case in CASES.items():
        if (int(case.at.removesuffix("m")) > 120) is hours:
            tests.append(history(name, case.fires, case.at, [{"labels": "{}", "value": 1}]))
            tests += [history(name, quiet, case.at, []) for quiet in case.quiet]
    return {
        "rule_files": [str(RULES)],
        "evaluation_interval": "10m" if hours else "1m",
        # Without it promtool takes the groups in any order, and alerts may see old records.
        "group_eval_order": [group["name"] for group in groups()],
        "tests": tests,
    }


def history(name: str, series: History, at: str, samples: list[dict]) -> dict:
    expression = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    return {
        "name": f"{name} {'fires' if samples else 'is quiet'}",
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": at, "exp_samples": samples}],
    }


@needs_promtool
@pytest.mark.parametrize("hours", [False, True], ids=["minutes", "hours"])
def test_alerts_fire_and_keep_quiet_as_they_should(hours, tmp_path):
    path = tmp_path / "cases.yaml"
    path.write_text(yaml.safe_dump(document(hours=hours), sort_keys=False))
    done = subprocess.run(
        [promtool, "test", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_both_ways():
    assert set(CASES) == set(alerts())
    assert all(case.fires and case.quiet for case in CASES.values())


def test_every_alert_says_how_bad_it_is_and_leads_to_its_entry_in_the_runbook():
    text = RUNBOOK.read_text("utf-8")
    entries = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert entries == list(alerts()), "one entry per alert, in their order"
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("page", "ticket")
        url, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert url.endswith("/docs/runbook.md")
        assert anchor == name.lower()
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_links_within_the_runbook_lead_somewhere():
    text = RUNBOOK.read_text("utf-8")
    anchors = {name.lower() for name in alerts()}
    assert set(re.findall(r"\(#([\w-]+)\)", text)) <= anchors


def test_what_is_recorded_is_used():
    recorded = {rule["record"] for group in groups() for rule in group["rules"] if "record" in rule}
    used = " ".join(rule["expr"] for rule in alerts().values())
    assert {name for name in recorded if name not in used} == set()


def test_the_chart_brings_the_rules_with_links_to_the_runbook_it_is_told():
    there = one(
        render({"monitoring": {"rules": "Always", "runbookUrl": "https://wiki/pagelet"}}),
        "PrometheusRule",
        "pagelet",
    )
    links = {
        rule["annotations"]["runbook_url"].partition("#")[0]
        for group in there["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert links == {"https://wiki/pagelet"}
    plain = one(render({"monitoring": {"rules": "Always"}}), "PrometheusRule", "pagelet")
    assert plain["spec"]["groups"] == groups()

"""Pages hold the figures, load nothing, and mean every text from outside as text."""

import dataclasses
import re
from xml.etree import ElementTree

from pagelet_bench.core.generator import observed
from pagelet_bench.core.goodput import Slo, goodput
from pagelet_bench.core.measured import Measured, Ramp, holds, most_share
from pagelet_bench.core.pages import html, markdown
from pagelet_bench.core.profiles import SINGLE
from pagelet_bench.core.ramp import Found
from pagelet_bench.core.report import report
from pagelet_bench.core.result import Outcome, RequestResult
from pagelet_bench.core.table import ramp_table

EVIL = '<script>alert("`x`")</script>'
FACTS = {"model": EVIL}


def result(index, ttft_s=0.1, outcome=Outcome.OK):
    return RequestResult(
        index=index,
        outcome=outcome,
        detail=EVIL,
        late_s=0.0,
        started_s=float(index),
        ended_s=index + ttft_s + 0.5,
        token_times_s=(index + ttft_s, index + ttft_s + 0.02) if outcome is Outcome.OK else (),
        prompt_tokens=5,
        output_tokens=2,
        requested_tokens=2,
    )


def measured(results, rate_per_s=None, slo=None):
    profile = SINGLE
    if rate_per_s is not None:
        profile = dataclasses.replace(SINGLE, concurrency=None, rate_per_s=rate_per_s)
    found = report(results, planned=len(results))
    good = slo and goodput(slo, results, planned=len(results), duration_s=found.duration_s)
    lag = observed([0.001], cpu_s=0.1, duration_s=1.0)
    return Measured(profile=profile, report=found, results=results, generator=lag, goodput=good)


RESULTS = [result(0), result(1, 0.3), result(2, outcome=Outcome.CUT)]
RUN = measured(RESULTS, slo=Slo(ttft_s=0.2))
RAMP = Ramp(
    Found(1.0, 2.0),
    (
        measured(RESULTS[:1], 1.0, Slo(ttft_s=0.2)),
        measured(RESULTS[1:2], 2.0, Slo(ttft_s=0.2)),
    ),
)


def test_a_page_is_one_file_that_loads_nothing_and_runs_nothing():
    page = html(EVIL, FACTS, RUN, RAMP)
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", page)
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    assert page.count("<svg") == 7


def test_a_page_shows_latencies_goodput_and_what_spoils_them():
    page = html("t", FACTS, RUN, None)
    assert "<td>TTFT</td><td>200.0</td><td>100.0</td>" in page
    assert "33.3 % good" in page
    assert "cut: &lt;script" in page
    assert page.count("<svg") == 5


def test_a_page_of_nothing_is_a_page():
    assert html("t", {}, measured([]), None).count("no values") == 5


def test_markdown_shows_the_same_and_holds_facts_as_code():
    page = markdown("t", FACTS, RUN, RAMP)
    assert "| TTFT | 200.0 | 100.0 |" in page
    assert f"- model: `{EVIL.replace('`', chr(39))}`" in page
    assert "holds at 1 requests/s and breaks at 2" in page


def test_the_trial_to_show_is_the_one_at_the_highest_rate_that_held():
    assert RAMP.best is RAMP.trials[0]
    assert holds(RAMP.best)
    assert Ramp(Found(None, 1.0), RAMP.trials[1:]).best is RAMP.trials[1]
    assert Ramp(None, RAMP.trials).best is RAMP.trials[-1]


def test_a_search_that_was_ended_says_so():
    assert "nterrupted before an answer" in ramp_table(Ramp(None, RAMP.trials))


def test_a_trial_that_was_ended_early_shows_the_most_it_could_have_reached():
    slo = Slo(ttft_s=0.2)
    found = report(RESULTS[1:2], planned=10)
    good = goodput(slo, RESULTS[1:2], planned=10, duration_s=1.0)
    early = dataclasses.replace(RAMP.trials[1], report=found, results=RESULTS[1:2], goodput=good)
    assert most_share(early) == 0.9
    assert "<=90.0%" in ramp_table(Ramp(None, (early,)))
    assert most_share(RAMP.trials[0]) == 1.0


def test_a_search_says_what_failed_in_its_trials():
    cut = measured(RESULTS[2:], 1.0, Slo(ttft_s=0.2))
    assert f"cut in a trial: {EVIL}" in ramp_table(Ramp(Found(None, 1.0), (cut,)))
    assert "in a trial" not in ramp_table(RAMP)

"""A report holds what was measured beside what stable did, is bounded, and loads nothing."""

import json
import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.gate_report import CURVE_PERCENTS, MAX_BYTES, report
from pagelet_operator.core.gates import GateResult, GateStatus
from pagelet_operator.core.lengths import BUCKETS, Lengths

CURVE = tuple(n / 1000 for n in range(len(CURVE_PERCENTS)))
COUNTS = tuple(range(BUCKETS))
FIGURES = {"requests": 48.0, "ttftP95": 0.3, "itlP50": 0.01, "itlP99": 0.03}
STABLE = {"requests": 48.0, "ttftP95": 0.2, "itlP50": 0.01, "itlP99": 0.02}

figures = st.dictionaries(
    st.sampled_from(["requests", "ttftP50", "ttftP95", "itlP99", "errorRate"]),
    st.floats(0, 1e9),
    max_size=5,
)
curves = st.lists(
    st.floats(0, 1e6), min_size=len(CURVE_PERCENTS), max_size=len(CURVE_PERCENTS)
).map(sorted)


def judged(found=FIGURES, message="ttftP95 300 ms"):
    return GateResult(status=GateStatus.FAILED, message=message, figures=found)


def measured(curve=CURVE, counts=COUNTS):
    lengths = Lengths(prompt=counts, output=counts)
    named = {"ttft": curve, "itl": curve}
    return GateResult(status=GateStatus.MEASURED, curves=named, lengths=lengths)


def drawings(page):
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_figures_stand_beside_the_stable_revisions_with_their_change():
    found = report("b", judged(), measured(), stable="a", stable_figures=STABLE)
    assert "<td>ttftP95</td><td>0.3</td><td>0.2</td><td>+50.0 %</td>" in found.page
    assert "Load test of b: Failed" in found.page
    assert "beside a, which serves" in found.page
    told = json.loads(found.summary)
    assert (told["figures"], told["stableFigures"], told["stable"]) == (FIGURES, STABLE, "a")
    assert told["curves"]["ttft"] == list(CURVE)
    assert found.name == "b-loadtest"


def test_without_a_profile_of_stable_nothing_is_compared():
    found = report("b", judged(), measured(), stable="a")
    assert "<td>ttftP95</td><td>0.3</td><td>-</td><td>-</td>" in found.page
    assert json.loads(found.summary)["stable"] is None


def test_what_was_not_measured_is_said_in_place_of_a_drawing():
    nothing = GateResult(status=GateStatus.MEASURED)
    page = report("b", judged(), nothing).page
    assert page.count("not measured") == 2
    assert page.count("not counted") == 2


def test_text_from_outside_means_itself_and_nothing_is_loaded():
    page = report("b", judged(message='<script src="x">'), measured()).page
    assert "<script" not in page
    assert "&lt;script" in page
    assert not re.search(r"<link|<img|src=\"|@import|url\(", page.replace("src=&quot;", ""))


@given(figures, figures, curves, st.text(max_size=600))
def test_any_result_makes_a_bounded_page_with_four_drawings(found, stable, curve, message):
    made = report(
        "b", judged(found, message), measured(tuple(curve)), stable="a", stable_figures=stable
    )
    assert len(drawings(made.page)) == 4
    assert len(made.page.encode()) + len(made.summary.encode()) < MAX_BYTES / 10
    json.loads(made.summary)

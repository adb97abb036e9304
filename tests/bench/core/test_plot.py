"""Charts are well-formed, inside their frame, small, and say when there is nothing."""

import math
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.plot import (
    HEIGHT,
    MOST_POINTS,
    WIDTH,
    Scale,
    Series,
    chart,
    escaped,
    log_ticks,
    ticks,
)

SVG = "{http://www.w3.org/2000/svg}"
points = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), max_size=30).map(sorted)
kinds = st.sampled_from(["line", "step", "dots"])


@given(st.lists(st.tuples(points, kinds), min_size=1, max_size=3), st.booleans(), st.text())
def test_any_series_is_a_drawing_inside_its_frame(drawn, log_x, title):
    title = "".join(letter for letter in title if letter.isprintable())
    series = [Series(f"s{n}", found, kind) for n, (found, kind) in enumerate(drawn)]
    root = ElementTree.fromstring(chart(title, series, x="x", y="y", log_x=log_x))
    assert root.get("aria-label") == title
    for circle in root.iter(f"{SVG}circle"):
        assert 0 <= float(circle.get("cx")) <= WIDTH
        assert 0 <= float(circle.get("cy")) <= HEIGHT
    assert "nan" not in ElementTree.tostring(root, encoding="unicode").replace(escaped(title), "")


def test_nothing_to_draw_is_said():
    assert "no values" in chart("t", [Series("a", [])], x="x", y="y")
    assert "no values" in chart("t", [Series("a", [(0.0, 1.0)])], x="x", y="y", log_x=True)


def test_a_long_series_is_thinned_and_keeps_its_ends():
    long = [(float(n), float(n)) for n in range(1, 10 * MOST_POINTS)]
    root = ElementTree.fromstring(chart("t", [Series("a", long, "dots")], x="x", y="y"))
    circles = list(root.iter(f"{SVG}circle"))
    assert len(circles) <= MOST_POINTS + 1
    assert float(circles[-1].get("cx")) == WIDTH - 14


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_within_the_range_and_are_few(low, width):
    found = ticks(low, low + width)
    slack = 1e-6 * max(1.0, abs(low), width)
    assert all(low - slack <= value <= low + width + slack for value in found)
    assert 1 <= len(found) <= 8


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e6))
def test_ticks_of_a_logarithmic_scale_lie_within_the_range(low, factor):
    assert all(low * 0.99 <= value <= low * factor * 1.01 for value in log_ticks(low, low * factor))


@given(st.floats(0.1, 10), st.floats(11, 1000), st.floats(0, 2000), st.booleans())
def test_a_scale_never_leaves_its_pixels(low, high, value, is_log):
    place = Scale(low, high, 10.0, 90.0, is_log).at(value)
    assert 10.0 <= place <= 90.0 or math.isclose(place, 10.0) or math.isclose(place, 90.0)


def test_markup_in_text_means_itself():
    assert escaped('<b a="1">&') == "&lt;b a=&quot;1&quot;&gt;&amp;"

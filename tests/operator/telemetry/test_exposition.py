import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest

from pagelet_operator.telemetry.exposition import ExpositionError, Sample, samples

NAMES = frozenset({"a_total", "b"})


def read(text: str) -> list[Sample]:
    return list(samples(text, NAMES))


def test_only_what_is_asked_for_is_read():
    text = (
        "# HELP a_total x\n# TYPE a_total counter\na_total 3\na_total_not{x NaN\nc 1\n"
        'b{x="y"} 2e3 17\n'
    )
    assert read(text) == [Sample("a_total", {}, 3.0), Sample("b", {"x": "y"}, 2000.0)]


@given(st.dictionaries(st.sampled_from(["x", "y"]), st.text(max_size=20), min_size=2))
def test_every_label_the_client_library_writes_is_read_back(labels):
    registry = CollectorRegistry()
    Counter("a", "Doc.", tuple(labels), registry=registry).labels(**labels).inc(5)
    wanted = {name: text.encode("utf-8", "replace").decode() for name, text in labels.items()}
    try:
        text = generate_latest(registry).decode()
    except UnicodeEncodeError:
        return
    found = [sample for sample in read(text) if sample.name == "a_total"]
    assert found == [Sample("a_total", wanted, 5.0)]


@pytest.mark.parametrize(
    "line",
    ["b NaN", "b +Inf", "b -Inf", "b -1", "b 1e999", "b one", "b", "b{", 'b{x="} 1', "b{x=1} 1",
     'b{x="y"}', 'b{x="y" z} 1', "b 1 2 3", "b 1 now"],
)  # fmt: skip
def test_what_counts_nothing_is_refused_with_its_line(line):
    with pytest.raises(ExpositionError, match="b"):
        read(line)


@given(st.text(alphabet='b{}="\\ x1.,\n-+eNaI', max_size=40))
def test_no_text_raises_anything_else(text):
    try:
        found = read("b" + text)
    except ExpositionError:
        return
    assert all(sample.value >= 0 for sample in found)

from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.figures import figures
from pagelet_operator.core.window import Histogram, Window

counts = st.lists(st.integers(0, 1000), min_size=3, max_size=3).map(tuple)
windows = st.builds(
    Window,
    since=st.just(0.0),
    until=st.just(60.0),
    requests=st.integers(0, 1000),
    errors=st.integers(0, 100),
    timeouts=st.integers(0, 100),
    ttft=counts.map(lambda found: Histogram((0.1, 1.0), found)),
    itl=counts.map(lambda found: Histogram((0.01, 0.1), found)),
    queue_samples=st.integers(0, 10),
    queue_sum=st.floats(0, 100),
    kv_samples=st.integers(0, 10),
    kv_sum=st.floats(0, 10),
    output_tokens=st.none() | st.integers(0, 1000),
)


@given(st.dictionaries(st.sampled_from(["b", "a", "c"]), windows))
def test_every_revision_has_figures_sorted_and_what_was_not_measured_is_none(found):
    said = figures(found)
    assert [item.revision for item in said] == sorted(found)
    for item in said:
        window = found[item.revision]
        assert item.requests == window.requests
        assert item.errors == window.errors + window.timeouts
        assert (item.ttft_p99 is None) == (window.ttft.total == 0)
        assert (item.itl_p99 is None) == (window.itl.total == 0)
        assert (item.queue is None) == (window.queue_samples == 0)
        assert (item.kv_cache is None) == (window.kv_samples == 0)
        assert (item.tokens_per_second is None) == (window.output_tokens is None)


def test_a_latency_has_two_digits_and_its_unit_and_one_off_the_scale_says_so():
    def one(**fields):
        return figures({"a": Window(since=0.0, until=60.0, **fields)})[0]

    assert one(ttft=Histogram((0.1, 0.2), (0, 100, 0))).ttft_p99 == "200 ms"
    assert one(itl=Histogram((0.01, 0.1), (0, 0, 9))).itl_p99 == "over the scale"
    assert one(queue_samples=3, queue_sum=1.0).queue == "0.3"
    assert one(kv_samples=4, kv_sum=1.0).kv_cache == "25%"
    assert one(output_tokens=90).tokens_per_second == "1.5"

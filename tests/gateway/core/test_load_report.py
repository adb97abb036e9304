from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.load_report import LoadReport, parse

TEXT = b"""# HELP vllm:num_requests_waiting Sequences waiting for their first step.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{model_name="a } b\\"c"} 3.0
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="m"} 1.2e+01
vllm:kv_cache_usage_perc{model_name="m"} 0.5
"""


def test_the_two_gauges_are_found():
    assert parse(TEXT) == LoadReport(waiting=3, running=12)
    plain = b"vllm:num_requests_waiting 1\nvllm:num_requests_running 2 1700000000000"
    assert parse(plain) == LoadReport(waiting=1, running=2)


def test_several_names_of_one_engine_are_added_up():
    more = TEXT + b'vllm:num_requests_running{model_name="n"} 5\n'
    assert parse(more) == LoadReport(waiting=3, running=17)


def test_a_longer_name_is_another_series():
    assert parse(TEXT.replace(b"running", b"running_max")) is None


def test_what_is_no_count_is_no_report():
    for value in (b"NaN", b"+Inf", b"-1", b"", b"many"):
        assert parse(TEXT.replace(b"1.2e+01", value)) is None, value


@given(st.binary(max_size=200))
def test_no_bytes_break_it_or_become_a_count(noise):
    assert parse(noise) is None
    assert parse(TEXT + b"# " + noise.replace(b"\n", b"")) == LoadReport(waiting=3, running=12)
    assert parse(b"vllm:num_requests_waiting" + noise) is None
    found = parse(TEXT + noise)
    assert found is None or (found.waiting >= 3 and found.running >= 12)

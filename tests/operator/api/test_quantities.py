import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from pagelet_operator.api.quantities import Quantity, memory_bytes, seconds


@given(st.integers(0, 99), st.integers(0, 999), st.integers(0, 9999))
def test_a_duration_is_the_sum_of_its_parts(hours, minutes, secs):
    assert seconds(f"{hours}h{minutes}m{secs}s") == hours * 3600 + minutes * 60 + secs


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90.0), ("2m", 120.0), ("1h30m", 5400.0), ("250ms", 0.25)]
)
def test_kubernetes_durations_are_understood(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "1.5s", "-1s", "1s1m", "5 s", "1d", "５s"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write it as 90s"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("512Mi", 512 * 2**20), ("2G", 2 * 10**9), ("1024", 1024), ("1Ti", 2**40)],
)
def test_quantities_are_bytes(text, expected):
    assert memory_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "1.5Gi", "-1", "Gi", "1 Gi", "1gi", "٣Gi"])
def test_what_is_no_quantity_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write it as 512Mi"):
        memory_bytes(text)


@pytest.mark.parametrize("value", ["2", "500m", "16Gi", "0.5", 1, "100k"])
def test_resource_quantities_are_taken_as_in_a_pod(value):
    assert TypeAdapter(Quantity).validate_python(value, strict=True) == str(value)


@pytest.mark.parametrize("value", ["", "two", "1GB", "-1", True, 0.5, None, "1 Gi"])
def test_what_is_no_resource_quantity_is_refused_with_an_example(value):
    with pytest.raises(ValidationError, match="is not a quantity; write it as 2, 500m or 16Gi"):
        TypeAdapter(Quantity).validate_python(value)

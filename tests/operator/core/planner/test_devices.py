import pytest

from pagelet_operator.core.planner.devices import CONTEXT_BYTES, GPUS, device
from pagelet_operator.core.planner.errors import PlanError


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_is_plausible_and_says_where_from(name):
    found = device(name.upper())
    assert 16 * 2**30 < found.memory_bytes < 300 * 2**30
    assert 100e9 < found.peak_bytes_per_s < 20e12
    assert found.peak_flops["bfloat16"] > found.peak_flops["float32"] > 1e12
    assert found.source.startswith("https://")


def test_what_the_driver_takes_is_not_free():
    assert device("h100-sxm").memory_bytes == 81559 * 2**20 - CONTEXT_BYTES


def test_memory_that_is_said_wins():
    assert device("l4", 2**34).memory_bytes == 2**34
    assert device("l4", 2**34).peak_bytes_per_s == device("l4").peak_bytes_per_s


def test_a_cpu_has_the_memory_that_is_said_and_no_known_speed():
    found = device("cpu", 2**34)
    assert (found.is_gpu, found.memory_bytes, found.peak_bytes_per_s) == (False, 2**34, None)


@pytest.mark.parametrize(
    ("name", "memory", "named"),
    [
        ("h1000", None, "'h1000' is unknown; choose one of a10g, "),
        ("cpu", None, "--memory"),
        ("l4", 0, "--memory is 0"),
    ],
)
def test_what_nobody_knows_is_refused_with_what_is_known(name, memory, named):
    with pytest.raises(PlanError, match=named):
        device(name, memory)

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.local.devices import parse_listing, roomiest, visible_gpus

LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-11111111-aaaa)
  MIG 1g.10gb     Device  0: (UUID: MIG-22222222-bbbb)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-33333333-cccc)
"""


def test_whole_gpus_are_listed_by_uuid():
    assert parse_listing(LISTING) == ("GPU-11111111-aaaa", "GPU-33333333-cccc")


@pytest.mark.parametrize(
    ("preset", "expected"), [("0,1", ("0", "1")), ("", ()), (" GPU-a , ", ("GPU-a",))]
)
def test_what_the_environment_allows_is_not_exceeded(preset, expected):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": preset}) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [(f"cat <<'END'\n{LISTING}END", ("GPU-11111111-aaaa", "GPU-33333333-cccc")), ("exit 9", ())],
)
def test_the_driver_is_asked_and_believed_only_on_success(tmp_path, monkeypatch, script, expected):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert visible_gpus({}) == expected


def test_without_a_driver_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus({}) == ()


@given(
    st.lists(st.sampled_from("abc"), min_size=1, unique=True),
    st.integers(0, 40),
    st.sampled_from([0.1, 0.3, 0.5, 0.9]),
)
def test_engines_spread_evenly_and_no_gpu_is_given_out_twice_over(gpus, engines, share):
    given_out = []
    for _ in range(engines):
        chosen = roomiest(gpus, [(gpu, share) for gpu in given_out], share)
        assert (chosen is None) == (len(given_out) == len(gpus) * int(1 / share + 1e-9))
        given_out += [chosen] if chosen else []
    counts = Counter(dict.fromkeys(gpus, 0)) + Counter(given_out)
    spread = [counts[gpu] for gpu in gpus]
    assert max(spread) - min(spread) <= 1


def test_without_gpus_there_is_none_to_give():
    assert roomiest([], [], 0.5) is None

"""What the machine offers, containers included."""

import os
from pathlib import Path

import pytest

from pagelet_engine.runner import hardware
from pagelet_engine.runner.hardware import detect_hardware


def test_this_machine_has_memory_and_cores():
    seen = detect_hardware("cpu")
    assert seen.device == "cpu"
    assert seen.memory_bytes > 2**26
    assert 1 <= seen.num_cores <= (os.cpu_count() or 1)


def test_a_containers_limits_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("2000000\n")
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    seen = detect_hardware("cpu")
    assert seen.memory_bytes == 3_000_000
    assert seen.num_cores == 1


def test_no_limit_means_the_whole_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = detect_hardware("cpu")
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert detect_hardware("cpu").num_cores >= whole.num_cores

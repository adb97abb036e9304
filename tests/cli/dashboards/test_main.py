"""The committed dashboards are those of the code, and writing them twice writes once."""

from pathlib import Path

import pytest

from pagelet.dashboards.__main__ import files, main

ROOT = Path(__file__).parents[3]


def test_the_dashboards_of_the_chart_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"], ROOT) == 0, capsys.readouterr().out


def test_check_names_what_is_stale_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"], tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert all(path in capsys.readouterr().out for path in list(files())[:1])


def test_writing_twice_writes_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(files()) == 4
    assert main([], tmp_path) == 0
    assert capsys.readouterr().out == ""
    assert main(["--check"], tmp_path) == 0

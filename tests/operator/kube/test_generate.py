"""Generated files: current in the repository, and rewritten only where they are not."""

from pathlib import Path

import pytest
import yaml

from pagelet_operator.kube.crd import crd
from pagelet_operator.kube.generate import crd_yaml, files, main, stale

ROOT = Path(__file__).parents[3]


def test_the_generated_files_of_the_repository_are_current() -> None:
    assert stale(ROOT) == [], "run: python -m pagelet_operator.kube.generate"


def test_the_yaml_says_what_the_objects_say() -> None:
    assert yaml.safe_load(crd_yaml()) == crd()


def test_check_names_what_is_stale_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"], tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert all(path in capsys.readouterr().out for path in ["manifests/install.yaml"])


def test_writing_twice_writes_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(files())
    assert main([], tmp_path) == 0
    assert capsys.readouterr().out == ""
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "manifests" / "rbac.yaml").write_text("changed")
    assert main(["--check"], tmp_path) == 1

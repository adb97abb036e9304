"""The tree keeps its rules (ARCHITECTURE.md, "Rules of the house")."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "engine": ROOT / "engine/pagelet_engine",
    "gateway": ROOT / "gateway/pagelet_gateway",
    "operator": ROOT / "operator/pagelet_operator",
    "bench": ROOT / "bench/pagelet_bench",
    "cli": ROOT / "cli/pagelet",
}


def test_the_operator_folder_is_no_package():
    """A module there would shadow the standard library's `operator`."""
    assert not list((ROOT / "operator").glob("*.py"))


def test_the_standard_librarys_operator_wins_from_the_repository_root():
    # -S: site's .pth files may load the real module first and hide the mistake.
    code = "import operator; print(operator.itemgetter.__module__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "operator"


def test_tests_hold_no_packages():
    """`tests/operator/__init__.py` would shadow `operator` as well."""
    assert not list((ROOT / "tests").rglob("__init__.py"))


@pytest.mark.parametrize("part", PACKAGES)
def test_every_test_folder_mirrors_a_package_folder(part):
    tests = ROOT / "tests" / part
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    missing = [str(folder) for folder in folders if not (PACKAGES[part] / folder).is_dir()]
    assert not missing, f"tests/{part} has folders without a package: {missing}"


@pytest.mark.parametrize("part", PACKAGES)
def test_modules_stay_small_enough_to_read(part):
    long = {
        str(path.relative_to(ROOT)): count
        for path in PACKAGES[part].rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not long, f"split these: {long}"

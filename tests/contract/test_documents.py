"""Documents name only what exists: paths, make targets, sub-commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
]
IN_TREE = re.compile(
    r"`((?:engine|gateway|operator|bench|cli|tests|docs|manifests|benchmarks)/[\w./-]+)`"
)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_a_document_names_exists(document):
    text = document.read_text()
    missing = [name for name in IN_TREE.findall(text) if not (ROOT / name).exists()]
    missing += [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert not missing, f"{document.name} names {missing}"


def test_the_readme_says_how_to_start_and_to_test():
    text = (ROOT / "README.md").read_text()
    assert "make up" in text
    assert "make test" in text
    assert not re.search(r"^(TRANSCRIPT|NUMBERS)", text, re.MULTILINE), "a place left open"


def test_every_make_target_a_document_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", document.read_text()))
        assert named <= targets, f"{document.name}: make {named - targets}"


def test_every_sub_command_a_document_names_exists():
    done = subprocess.run(
        [sys.executable, "-m", "pagelet", "--help"], capture_output=True, text=True, check=True
    )
    for document in DOCUMENTS:
        for name in re.findall(r"`pagelet ([a-z]+)", document.read_text()):
            assert re.search(rf"\b{name}\b", done.stdout), f"{document.name}: pagelet {name}"

"""The images' recipe: what runs is nobody's root, has no compiler, and is made of pinned extras."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ("engine", "gateway", "operator")


def stages() -> dict[str, tuple[str, list[str]]]:
    """Each stage's base and instructions, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: dict[str, tuple[str, list[str]]] = {}
    name = ""
    for line in lines:
        if begun := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            name = begun[2]
            found[name] = (begun[1], [])
        elif name:
            found[name][1].append(line)
    return found


def inherited(name: str) -> list[str]:
    """All instructions of a stage and of those it stands on."""
    base, own = stages()[name]
    return [*(inherited(base) if base in stages() else []), *own]


@pytest.mark.parametrize("target", TARGETS)
def test_what_runs_is_not_root_and_imports_from_no_current_folder(target):
    lines = inherited(target)
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001:10001"]
    assert any("PYTHONSAFEPATH=1" in line for line in lines)
    assert any("org.opencontainers.image.source" in line for line in lines)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_installed_or_compiled_where_it_runs(target):
    lines = inherited(target)
    assert not [line for line in lines if line.startswith("RUN")]
    assert [line for line in lines if line.startswith("COPY")] == [
        f"COPY --from={target}-build /opt/pagelet /opt/pagelet"
    ]


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_installed_is_pinned_and_has_an_extra(target):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    lines = stages()[f"{target}-build"][1]
    [run] = [line for line in lines if line.startswith("RUN")]
    assert "-c constraints.txt" in run
    named = " ".join(re.findall(r"'\.\[([\w,-]+)\]'|^ARG EXTRAS=([\w,-]+)$", "\n".join([
        run, *lines
    ]), re.MULTILINE)[0]).strip().split(",")  # fmt: skip
    assert target in named
    assert set(named) <= set(extras)


def test_operator_and_gateway_have_no_torch():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    for name in ("operator", "bench", "otel", "gateway", "gateway-redis"):
        assert not [found for found in extras[name] if found.startswith(("torch", "triton"))]


def test_bases_are_arguments_and_copied_paths_exist():
    text = (ROOT / "Dockerfile").read_text("utf-8")
    bases = {base for base, _ in stages().values()} - set(stages())
    assert bases == {"${BUILD_BASE}", "${RUN_BASE}"}
    for base in ("BUILD_BASE", "RUN_BASE"):
        assert f"ARG {base}=" in text
    ignored = (ROOT / ".dockerignore").read_text("utf-8")
    for line in stages()["source"][1]:
        if line.startswith("COPY"):
            for path in line.split()[1:-1]:
                assert (ROOT / path).exists()
                assert f"!{path}" in ignored

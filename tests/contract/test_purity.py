"""`core` packages decide and do nothing else, so they import nothing that could."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORES = {
    "pagelet_engine": ROOT / "engine/pagelet_engine/core",
    "pagelet_gateway": ROOT / "gateway/pagelet_gateway/core",
    "pagelet_operator": ROOT / "operator/pagelet_operator/core",
    "pagelet_bench": ROOT / "bench/pagelet_bench/core",
}
ALLOWED = {
    "bisect", "collections", "dataclasses", "difflib", "enum", "functools", "hashlib", "heapq",
    "itertools", "json", "math", "re", "struct", "types", "typing",
}  # fmt: skip


def imported(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, node.module or "." * node.level))
    return found


@pytest.mark.parametrize("package", CORES)
def test_core_imports_nothing_that_can_do_io(package):
    files = list(CORES[package].rglob("*.py"))
    assert files, f"{package} has no core"
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imported(ast.parse(path.read_text()))
        if name.split(".")[0] not in ALLOWED and not name.startswith(f"{package}.core")
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("banned", ["pickle", "marshal", "shelve", "dill", "cloudpickle"])
def test_nothing_is_ever_unpickled(banned):
    for path in ROOT.glob("*/pagelet*/**/*.py"):
        names = {name for _, name in imported(ast.parse(path.read_text()))}
        assert banned not in {name.split(".")[0] for name in names}, path


def test_importing_the_command_line_imports_nothing_heavy():
    heavy = ["torch", "kopf", "kubernetes", "fastapi", "pydantic", "aiohttp", "numpy", "msgspec"]
    code = (
        "import sys, pagelet.main; pagelet.main.build();"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"

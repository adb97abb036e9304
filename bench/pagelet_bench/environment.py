"""What a figure depends on beside the code: hardware, versions, commit. A result without them
cannot be compared with another."""

import itertools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

_SECRET = ("--api-key", "--against-api-key")
"""Options whose values never reach a result file."""


def describe() -> dict[str, object]:
    """Describe this machine and this program, for the head of a result file."""
    return {
        "hardware": hardware(),
        "versions": versions(),
        "commit": commit(Path(__file__).parent),
        "command": command(sys.argv),
    }


def hardware() -> dict[str, object]:
    """Name processor, usable cores, memory in bytes and GPUs of this machine."""
    return {
        "machine": platform.machine(),
        "cpu": _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "gpus": _gpus(),
    }


def versions() -> dict[str, str]:
    """Name the versions that can change a figure, where they are installed."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for name in ("pagelet", "aiohttp", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit(folder: Path) -> str | None:
    """Name the commit `folder` is tracked in, with `-dirty` for changed files; None without git."""
    tracked = _output(["git", "-C", str(folder), "ls-files", "--", "."])
    if not tracked:  # an installed copy inside somebody's repository is not that repository's
        return None
    name = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return _output(["git", "-C", str(folder), *name]) or None


def command(argv: list[str]) -> str:
    """Write a command line as it could be typed again, but for keys and where the program lies."""
    told = [Path(argv[0]).name]
    for before, word in itertools.pairwise(argv):
        name, has_value, _ = word.partition("=")
        if before in _SECRET:
            word = "***"
        elif has_value and name in _SECRET:
            word = f"{name}=***"
        told.append(word)
    return shlex.join(told)


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    return _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines()


def _field(path: Path, name: str) -> str:
    if not path.exists():
        return ""
    found = re.search(rf"^{name}\s*:\s*(.*)$", path.read_text(), re.MULTILINE)
    return found.group(1) if found else ""


def _output(arguments: list[str]) -> str:
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

"""What this process may use: cores and memory, counting container limits."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The device a model will run on."""

    device: str
    """cpu or cuda."""
    memory_bytes: int
    """Free memory: of the GPU, or of the machine within the container's limit."""
    num_cores: int
    """Cores this process may use."""
    has_fast_bfloat16: bool
    """Whether bfloat16 products run in hardware."""


def detect_hardware(device: str) -> Hardware:
    """Look at the machine.

    Args:
        device: auto, cpu or cuda; auto takes CUDA when there is a device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    on_gpu = device == "cuda"
    return Hardware(
        device=device,
        memory_bytes=_free_gpu_bytes() if on_gpu else _free_memory_bytes(),
        num_cores=_num_cores(),
        has_fast_bfloat16=on_gpu or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    )


def _free_gpu_bytes() -> int:
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0


def _free_memory_bytes() -> int:
    free = _available_bytes()
    limit = _number(_CGROUP / "memory.max")
    used = _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        free = min(free, max(0, limit - used))
    return free


def _available_bytes() -> int:
    for line in _lines(Path("/proc/meminfo")):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _num_cores() -> int:
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = " ".join(_lines(_CGROUP / "cpu.max")).split()
    if len(quota) == 2 and quota[0].isdigit():
        # More threads than quota are throttled in the middle of a product.
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    return cores


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []

"""What a replica runs on: memory, and how fast it reads and multiplies.

Memory is what the driver reports, speed what the data sheet says for dense products. Both are
peaks; `step_time` says what share of them a step is taken to reach.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from pagelet_operator.core.planner.errors import PlanError

_MIB = 2**20

CONTEXT_BYTES = 600 * _MIB
"""Of a GPU, taken by the driver's context before the engine looks at what is free."""

_UNKNOWN: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device of one replica."""

    name: str
    is_gpu: bool
    memory_bytes: int
    """Free when the engine starts."""
    peak_bytes_per_s: float | None = None
    """Reads of memory; None where nobody says."""
    peak_flops: Mapping[str, float] = field(default_factory=lambda: _UNKNOWN)
    """Floating-point operations per second in dense products, by dtype."""
    source: str = ""
    """Where the figures are from."""


_SITE = "https://www.nvidia.com/en-us/data-center/"
_BLACKWELL = "https://resources.nvidia.com/en-us-dgx-systems/dgx-b200-datasheet"
_ADA = "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"

# name: memory (MiB, nvidia-smi), reads (GB/s), bfloat16 and float32 (Tflop/s, dense), data sheet
_TABLE = {
    "a10g": (23028, 600, 70, 35, "https://aws.amazon.com/ec2/instance-types/g5/"),
    "a100-40gb": (40960, 1555, 312, 19.5, f"{_SITE}a100/"),
    "a100-80gb": (81920, 2039, 312, 19.5, f"{_SITE}a100/"),
    "b200": (183359, 8000, 2250, 75, _BLACKWELL),
    "h100-nvl": (95830, 3900, 835, 60, f"{_SITE}h100/"),
    "h100-pcie": (81559, 2000, 756, 51, f"{_SITE}h100/"),
    "h100-sxm": (81559, 3350, 989, 67, f"{_SITE}h100/"),
    "h200-sxm": (143771, 4800, 989, 67, f"{_SITE}h200/"),
    "l4": (23034, 300, 121, 30.3, f"{_SITE}l4/"),
    "l40s": (46068, 864, 362, 91.6, f"{_SITE}l40s/"),
    "rtx-4090": (24564, 1008, 165, 82.6, _ADA),
}


def _device(name: str) -> Device:
    mib, reads, half, full, source = _TABLE[name]
    return Device(
        name=name,
        is_gpu=True,
        memory_bytes=mib * _MIB - CONTEXT_BYTES,
        peak_bytes_per_s=reads * 1e9,
        peak_flops=MappingProxyType(
            {"bfloat16": half * 1e12, "float16": half * 1e12, "float32": full * 1e12}
        ),
        source=source,
    )


GPUS: Mapping[str, Device] = MappingProxyType({name: _device(name) for name in _TABLE})


def device(name: str, memory_bytes: int | None = None) -> Device:
    """Return a known device, or a CPU.

    Args:
        name: One of `GPUS`, or `cpu`; upper and lower case mean the same.
        memory_bytes: Free memory, in place of the table's; a CPU needs it.

    Raises:
        PlanError: Nobody knows it, or a CPU comes without memory.
    """
    wanted = name.lower()
    if memory_bytes is not None and memory_bytes < 1:
        raise PlanError(f"--memory is {memory_bytes}; it must be above 0")
    if wanted == "cpu":
        if memory_bytes is None:
            raise PlanError("--gpu cpu needs --memory, the free memory of a replica, such as 24Gi")
        return Device(name="cpu", is_gpu=False, memory_bytes=memory_bytes)
    if wanted not in GPUS:
        raise PlanError(f"--gpu {name!r} is unknown; choose one of {', '.join(GPUS)}, or cpu")
    known = GPUS[wanted]
    return known if memory_bytes is None else replace(known, memory_bytes=memory_bytes)

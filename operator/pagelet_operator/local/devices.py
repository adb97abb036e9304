"""Which GPUs engines on this machine may use, and which one the next engine gets."""

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_LIST_TIMEOUT_S = 10.0


def visible_gpus(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return names of GPUs that CUDA_VISIBLE_DEVICES understands; empty for a CPU machine.

    Those that `env` already names, if it does; else all that `nvidia-smi -L` lists, by UUID,
    since CUDA may count them in another order than the driver.
    """
    preset = env.get("CUDA_VISIBLE_DEVICES")
    if preset is not None:
        return tuple(name.strip() for name in preset.split(",") if name.strip())
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            text=True,
            timeout=_LIST_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_listing(listed.stdout) if listed.returncode == 0 else ()


def parse_listing(text: str) -> tuple[str, ...]:
    """Return the UUIDs in the output of `nvidia-smi -L`, one line `GPU 0: … (UUID: …)` each."""
    lines = (line.partition("(UUID: ") for line in text.splitlines() if line.startswith("GPU "))
    return tuple(rest.rstrip(") ") for _, found, rest in lines if found)


def least_used(gpus: Sequence[str], in_use: Iterable[str]) -> str | None:
    """Return the GPU with the fewest engines, the first of them; None without GPUs."""
    counts = Counter(in_use)
    return min(gpus, key=lambda gpu: counts[gpu], default=None)

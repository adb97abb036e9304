"""What `pagelet plan` expects, beside what was measured: the stored run of the CPU benchmark.

The speeds are taken from its requests one at a time; the 48 mixed requests that ran together are
then predicted from them. The errors are those that docs/reference/plan.md reports.
"""

import json
from collections import deque
from pathlib import Path

import pytest

from pagelet_bench.core.profiles import MIXED48
from pagelet_bench.core.workload import plan
from pagelet_operator.core.planner.devices import device
from pagelet_operator.core.planner.known_models import KNOWN
from pagelet_operator.core.planner.memory import EngineNumbers, plan_memory
from pagelet_operator.core.planner.step_time import from_run
from pagelet_operator.planner.measured_file import read_run

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "benchmarks/results/serving-cpu-2026-11-23.json"


@pytest.fixture(scope="module")
def replayed():
    """Seconds and step lengths of the 48 requests, scheduled as the engine does."""
    shape, run = KNOWN["dummy://smollm2-135m"], read_run(RESULT)
    memory = plan_memory(shape, EngineNumbers(), device("cpu", run.device_bytes))
    steps = from_run(shape, memory, run)
    waiting = deque(plan(MIXED48, vocab_size=32_000))
    running, seconds, gaps = [], 0.0, []
    prompt, done = None, 0
    while waiting or running or prompt:
        room, pairs, keys, joined = memory.max_num_batched_tokens - len(running), 0, 0, []
        context = sum(has for has, _ in running)
        pairs, keys, tokens = context, context, len(running)
        while room and (prompt or waiting):
            prompt = prompt or waiting.popleft()
            size = min(room, len(prompt.prompt_token_ids) - done)
            pairs += size * done + size * (size + 1) / 2
            keys += done + size
            room, tokens, done = room - size, tokens + size, done + size
            if done == len(prompt.prompt_token_ids):
                joined.append((done, prompt.output_tokens - 1))
                prompt, done = None, 0
        took = steps.seconds(tokens, pairs, keys)
        seconds += took
        gaps += [took] * len(running)
        running = [(has + 1, left - 1) for has, left in running if left > 1]
        running += [one for one in joined if one[1]]
    return seconds, sorted(gaps)


@pytest.fixture(scope="module")
def measured():
    return json.loads(RESULT.read_text())["servers"][0]["mixed"]


def test_the_replay_has_the_measured_tokens(replayed, measured):
    assert len(replayed[1]) == measured["output_tokens"] - measured["ok"]


def test_a_batch_takes_a_quarter_less_than_it_took(replayed, measured):
    assert replayed[0] / measured["duration_s"] == pytest.approx(0.74, abs=0.05)


def test_gaps_between_tokens_are_a_quarter_to_a_half_too_short(replayed, measured):
    """Products of 8 to 64 rows are slower on this CPU than a line from 1 to 128 rows says."""
    gaps = replayed[1]
    errors = [
        gaps[int(share * len(gaps))] / measured["itl"][name]
        for share, name in ((0.5, "p50_s"), (0.99, "p99_s"))
    ]
    assert errors == pytest.approx([0.55, 0.77], abs=0.05)

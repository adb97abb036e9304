"""How right is the analysis? Many simulated rollouts of good and bad canaries, judged for real.

Nothing here runs an engine. Requests with lognormal lengths arrive in bursts and conversations;
two fleets answer them by a simple model of continuous batching (gaps grow with the batch, prompts
of others interrupt, prompts wait, an engine has slow moments, a new one has a cold prefix cache).
What they answer is counted in the gateway's own buckets and judged by the operator's own `judge`
with its own defaults; steps and looks follow the resource's defaults. Seeded: the same command
prints the same figures.

    python benchmarks/rollout_simulation.py --rollouts 200 --output benchmarks/results/x.json
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np

from pagelet_gateway.metrics import ITL_BUCKETS_S, TTFT_BUCKETS_S
from pagelet_operator.api.quantities import seconds
from pagelet_operator.api.spec import Rollout
from pagelet_operator.core.analysis import AnalysisPolicy, Verdict, judge
from pagelet_operator.core.window import Histogram, Window

BIN_S = 5.0
"""Within a bin the arrival rate and an engine's moment are constant."""

MAX_STEP_S = 900.0
"""A step without a verdict for so long leaves the rollout to a person: undecided."""

RATES = (0.2, 2.0, 20.0)


@dataclass(frozen=True)
class Canary:
    """How a canary differs from stable."""

    name: str
    itl: float = 1.0
    ttft: float = 1.0
    errors: float = 0.0
    good: bool = False


CANARIES = (
    Canary("A/A", good=True),
    Canary("2x ITL", itl=2.0),
    Canary("2x TTFT", ttft=2.0),
    Canary("5 % errors", errors=0.05),
    Canary("1.2x ITL (allowed)", itl=1.2, good=True),
)


@dataclass
class Fleet:
    """One revision's engines: `replicas` of them, each batching what it gets."""

    rng: np.random.Generator
    replicas: int
    canary: Canary
    cached: float
    """Share of prompt tokens found in the prefix cache; rises to `WARM` with requests."""
    running: float = 0.0
    """Sequences in flight per replica, a moving mean."""
    moment: float = 0.0
    """Log of how slow the engines are just now, beside their load."""

    GAP_S = 0.02
    PREFILL_TOKENS_PER_S = 8000.0
    CHUNK = 512
    WARM = 0.4

    def serve(self, prompts: np.ndarray, outputs: np.ndarray) -> "Counts":
        """Answer requests that arrive in one bin."""
        rng, n = self.rng, len(prompts)
        self.moment = 0.8 * self.moment + rng.normal(0.0, 0.06)
        slow = math.exp(self.moment)
        gap_s = self.GAP_S * (1 + 0.03 * self.running) * self.canary.itl * slow
        busy = float(prompts.sum()) * (1 - self.cached) / self.PREFILL_TOKENS_PER_S
        busy = min(0.9, busy / BIN_S / self.replicas)
        held = float(outputs.sum()) * gap_s * (1 + busy) / BIN_S / self.replicas
        self.running = 0.5 * self.running + 0.5 * min(held, 256.0)
        if not n:
            return Counts()
        prefill_s = prompts * (1 - self.cached) / self.PREFILL_TOKENS_PER_S
        queue_s = rng.exponential(0.02 + 0.3 * busy / (1 - busy), n)
        ttft = (0.01 + prefill_s + queue_s + gap_s / slow) * slow * self.canary.ttft
        self.cached += (self.WARM - self.cached) * min(1.0, n / self.replicas / 50)
        failed = rng.random(n) < 0.002 + self.canary.errors
        late = rng.random(n) < 0.001
        streamed = ~(failed | late)
        gaps = self._gaps(gap_s, busy, outputs[streamed], prompts)
        return Counts(
            requests=n,
            errors=int(failed.sum()),
            timeouts=int((late & ~failed).sum()),
            ttft=_counted(ttft[streamed], TTFT_BUCKETS_S),
            itl=_counted(gaps, ITL_BUCKETS_S),
        )

    def _gaps(
        self, gap_s: float, busy: float, outputs: np.ndarray, prompts: np.ndarray
    ) -> np.ndarray:
        """Gaps of all tokens; of one request they are alike, and some meet a prompt's chunk."""
        rng = self.rng
        each = np.repeat(gap_s * np.exp(rng.normal(0.0, 0.1, len(outputs))), outputs)
        gaps = each * np.exp(rng.normal(0.0, 0.1, len(each)))
        met = rng.random(len(gaps)) < busy
        chunk_s = rng.choice(np.minimum(prompts, self.CHUNK), int(met.sum()))
        gaps[met] += chunk_s / self.PREFILL_TOKENS_PER_S * self.canary.ttft
        return gaps


def _counted(values: np.ndarray, bounds: tuple[float, ...]) -> np.ndarray:
    where = np.searchsorted(bounds, values, side="left")
    return np.bincount(where, minlength=len(bounds) + 1)


@dataclass
class Counts:
    """What a gateway counted of one revision since a step began."""

    requests: int = 0
    errors: int = 0
    timeouts: int = 0
    ttft: np.ndarray = field(default_factory=lambda: np.zeros(len(TTFT_BUCKETS_S) + 1, int))
    itl: np.ndarray = field(default_factory=lambda: np.zeros(len(ITL_BUCKETS_S) + 1, int))

    def __iadd__(self, other: "Counts") -> "Counts":
        self.requests += other.requests
        self.errors += other.errors
        self.timeouts += other.timeouts
        self.ttft = self.ttft + other.ttft
        self.itl = self.itl + other.itl
        return self

    def window(self, since: float, until: float) -> Window:
        return Window(
            since=since,
            until=until,
            requests=self.requests,
            errors=self.errors,
            timeouts=self.timeouts,
            ttft=Histogram(TTFT_BUCKETS_S, tuple(map(int, self.ttft))),
            itl=Histogram(ITL_BUCKETS_S, tuple(map(int, self.itl))),
        )


def arrivals(
    rng: np.random.Generator, rate: float, weight: int
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Yield, per bin, prompt and output lengths of stable's and the canary's requests.

    Bursts: the rate is multiplied by a slow lognormal walk. Requests come in conversations of
    three turns on average, and a conversation stays on its revision.
    """
    walk, pending = 0.0, [0, 0]
    while True:
        walk = 0.9 * walk + rng.normal(0.0, 0.25)
        openings = rng.poisson(rate / 3 * BIN_S * math.exp(walk - 0.16))
        to_canary = rng.binomial(openings, weight / 100)
        prompts, outputs = [], []
        for index, opened in enumerate((openings - to_canary, to_canary)):
            turns = rng.geometric(1 / 3, opened) - 1
            later = rng.binomial(pending[index], min(1.0, BIN_S / 20))  # a turn each 20 s or so
            pending[index] += int(turns.sum()) - later
            n = opened + later
            prompts.append(np.clip(rng.lognormal(math.log(400), 1.1, n), 8, 16_000))
            lengths = np.clip(rng.lognormal(math.log(120), 0.9, n), 2, 2000)
            outputs.append(lengths.astype(int))
        yield prompts, outputs


@dataclass(frozen=True)
class Run:
    """How one rollout ended."""

    why: str
    """The last judgement's words."""
    end: str
    """promoted, withdrawn or undecided."""
    after_s: float
    served: int
    total: int


def rollout(canary: Canary, rate: float, policy: AnalysisPolicy, seed: int) -> Run:
    """Run one rollout to its end."""
    rng = np.random.default_rng(seed)
    replicas = max(1, math.ceil(rate / 4))
    fleets = [
        Fleet(rng, replicas, CANARIES[0], Fleet.WARM),
        Fleet(rng, replicas, canary, 0.0),
    ]
    now, served, total = 0.0, 0, 0
    for step in Rollout().steps:
        traffic = arrivals(rng, rate, step.weight)
        began, looked, fails = now, now, 0
        counts = [Counts(), Counts()]
        while True:
            prompts, outputs = next(traffic)
            for index, fleet in enumerate(fleets):
                counts[index] += fleet.serve(prompts[index], outputs[index])
            served += len(prompts[1])
            total += len(prompts[0]) + len(prompts[1])
            now += BIN_S
            if now < looked + policy.interval_s:
                continue
            looked = now
            stable, on_trial = (count.window(began, now) for count in counts)
            judgement = judge(policy, on_trial, stable)
            verdict, why = judgement.verdict, f"{step.weight} %: {judgement.message}"
            fails = fails + 1 if verdict is Verdict.FAIL else 0
            if fails >= policy.failure_limit:
                return Run(why, "withdrawn", now, served, total)
            if verdict is Verdict.PASS and now >= began + seconds(step.hold):
                break
            if now >= began + MAX_STEP_S:
                return Run(why, "undecided", now, served, total)
    return Run(why, "promoted", now, served, total)


def _case(job: tuple[Canary, float, AnalysisPolicy, int, int]) -> dict[str, object]:
    canary, rate, policy, rollouts, seed = job
    runs = [rollout(canary, rate, policy, seed + index) for index in range(rollouts)]
    ended = {end: [run for run in runs if run.end == end] for end in
             ("promoted", "withdrawn", "undecided")}  # fmt: skip
    right = ended["promoted" if canary.good else "withdrawn"]
    times = sorted(run.after_s for run in right)
    bad = [run for run in runs if not canary.good]
    return {
        "canary": canary.name,
        "requests_per_s": rate,
        "rollouts": rollouts,
        **{end: len(found) for end, found in ended.items()},
        "median_s_to_end": times[len(times) // 2] if times else None,
        "p90_s_to_end": times[int(len(times) * 0.9)] if times else None,
        "served_percent": round(
            100 * sum(run.served for run in bad) / sum(run.total for run in bad), 2
        )
        if bad
        else None,
        "examples": sorted({run.why for run in runs if run not in right})[:3],
        "wrong_percent": round(
            100 * len(ended["withdrawn" if canary.good else "promoted"]) / rollouts, 2
        ),
    }


def table(cases: list[dict[str, object]]) -> str:
    """Write the cases as a Markdown table."""
    heads = ("canary", "requests_per_s", "promoted", "withdrawn", "undecided", "wrong_percent",
             "median_s_to_end", "p90_s_to_end", "served_percent")  # fmt: skip
    rows = [" | ".join(str(case[head]) for head in heads) for case in cases]
    return "\n".join([" | ".join(heads), " | ".join("---" for _ in heads), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rates", type=float, nargs="*", default=RATES)
    parser.add_argument("--failure-limit", type=int)
    parser.add_argument("--min-requests", type=int)
    parser.add_argument("--interval", type=float)
    parser.add_argument("--canaries", nargs="*", default=[canary.name for canary in CANARIES])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path)
    said = parser.parse_args()
    policy = AnalysisPolicy()
    policy = replace(
        policy,
        failure_limit=said.failure_limit or policy.failure_limit,
        min_requests=said.min_requests or policy.min_requests,
        interval_s=said.interval or policy.interval_s,
    )
    chosen = [canary for canary in CANARIES if canary.name in said.canaries]
    began = time.monotonic()
    jobs = [(c, r, policy, said.rollouts, said.seed) for c, r in product(chosen, said.rates)]
    cases: list[dict[str, object]] = []
    with ProcessPoolExecutor(said.processes) as pool:
        for case in pool.map(_case, jobs):
            cases.append(case)
            print(table([case]).splitlines()[-1], flush=True)
            if said.output:
                said.output.write_text(json.dumps(_report(said, policy, cases), indent=1) + "\n")
    print(table(cases))
    print(f"{time.monotonic() - began:.0f} s")


def _report(
    said: argparse.Namespace, policy: AnalysisPolicy, cases: list[dict[str, object]]
) -> dict[str, object]:
    return {
        "command": f"rollout_simulation.py --rollouts {said.rollouts} --seed {said.seed}",
        "max_step_s": MAX_STEP_S,
        "policy": {
            "interval_s": policy.interval_s,
            "min_requests": policy.min_requests,
            "failure_limit": policy.failure_limit,
            "rules": [
                {"metric": rule.metric, "max_increase": rule.change_percent,
                 "required": rule.required}
                for rule in policy.metrics
            ],
        },
        "cases": cases,
    }  # fmt: skip


if __name__ == "__main__":
    main()

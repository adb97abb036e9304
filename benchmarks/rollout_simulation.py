"""How right is the analysis? Many simulated rollouts of good and bad canaries, judged for real.

Nothing here runs an engine. Requests with lognormal lengths arrive in bursts and conversations;
two fleets answer them by a simple model of continuous batching (gaps grow with the batch, prompts
of others interrupt, prompts wait, an engine has slow moments, a new one has a cold prefix cache).
What they answer is counted in the gateway's own buckets, kept in the operator's own `Ledger` and
judged by its own `judge` and `calm` with its own defaults; steps, looks and the canary's replicas
follow the resource's defaults. Seeded: the same command
prints the same figures.

    python benchmarks/rollout_simulation.py --rollouts 200 --output benchmarks/results/x.json
"""

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np

from pagelet_gateway.metrics import ITL_BUCKETS_S, TTFT_BUCKETS_S
from pagelet_operator.api.quantities import seconds
from pagelet_operator.api.spec import Rollout
from pagelet_operator.core.analysis import AnalysisPolicy, Judgement, Verdict, judge
from pagelet_operator.core.calm import SPAN_S, calm
from pagelet_operator.core.capacity import alike
from pagelet_operator.core.ledger import Ledger
from pagelet_operator.core.window import Histogram, Window

BIN_S = 5.0
"""Within a bin the arrival rate and an engine's moment are constant."""

MAX_STEP_S = seconds(Rollout().steps[0].hold) + seconds(Rollout().progress_deadline)
"""A step without a verdict for so long leaves the rollout to a person: undecided."""

BEFORE_S = 1800.0
"""Stable serves alone for so long before the canary comes."""

BEFORE_STRIDE = 8
"""Of that time one of so many gaps is counted; all of them would take most of the run."""

STABLE, CANARY = "stable", "canary"

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
    Canary("1.1x ITL (allowed)", itl=1.1, good=True),
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

    def serve(self, prompts: np.ndarray, outputs: np.ndarray, gap_stride: int = 1) -> "Counts":
        """Answer requests that arrive in one bin; count one of `gap_stride` gaps."""
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
        shown = np.maximum(1, outputs[streamed] // gap_stride)
        gaps = self._gaps(gap_s, busy, shown, prompts)
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


@dataclass
class Traffic:
    """Requests of a model: bursts, and conversations that stay on their revision.

    Bursts: the rate is multiplied by a slow lognormal walk. Conversations have three turns on
    average; a rising weight takes its share of those under way along, as the gateway's hash does.
    """

    rng: np.random.Generator
    rate: float
    weight: int = 0
    walk: float = 0.0
    pending: list[int] = field(default_factory=lambda: [0, 0])
    """Turns still to come of conversations under way: stable's, the canary's."""

    TURN_S = 20.0

    def shift(self, weight: int) -> None:
        """Raise the canary's share."""
        moved = self.rng.binomial(self.pending[0], (weight - self.weight) / (100 - self.weight))
        self.pending = [self.pending[0] - moved, self.pending[1] + moved]
        self.weight = weight

    def bin(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return prompt and output lengths of stable's and the canary's next requests."""
        rng = self.rng
        self.walk = 0.9 * self.walk + rng.normal(0.0, 0.25)
        openings = rng.poisson(self.rate / 3 * BIN_S * math.exp(self.walk - 0.16))
        to_canary = rng.binomial(openings, self.weight / 100)
        prompts, outputs = [], []
        for index, opened in enumerate((openings - to_canary, to_canary)):
            turns = rng.geometric(1 / 3, opened) - 1
            later = rng.binomial(self.pending[index], min(1.0, BIN_S / self.TURN_S))
            self.pending[index] += int(turns.sum()) - later
            n = opened + later
            prompts.append(np.clip(rng.lognormal(math.log(400), 1.1, n), 8, 16_000))
            lengths = np.clip(rng.lognormal(math.log(120), 0.9, n), 2, 2000)
            outputs.append(lengths.astype(int))
        return prompts, outputs


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


class World:
    """Stable and a canary under one traffic, and what a gateway counted of them."""

    def __init__(self, canary: Canary, rate: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.replicas = max(1, math.ceil(rate / 4))
        self.fleets = {
            STABLE: Fleet(rng, self.replicas, CANARIES[0], Fleet.WARM),
            CANARY: Fleet(rng, 1, canary, 0.0),
        }
        self.traffic = Traffic(rng, rate)
        self.ledger = Ledger()
        self.counts = {STABLE: Counts(), CANARY: Counts()}
        self.now, self.served, self.total = -BEFORE_S, 0, 0
        self.ledger.read("gateway", {}, self.now)
        while self.now < 0.0:
            self.pass_time(gap_stride=BEFORE_STRIDE)
        self.served = self.total = 0

    def give(self, weight: int) -> None:
        """Give the canary a share, and the replicas for it."""
        self.traffic.shift(weight)
        self.fleets[CANARY].replicas = alike(weight, self.replicas)

    def pass_time(self, gap_stride: int = 1) -> None:
        """Answer the requests of one bin, and have the gateway read."""
        prompts, outputs = self.traffic.bin()
        for index, (name, fleet) in enumerate(self.fleets.items()):
            self.counts[name] += fleet.serve(prompts[index], outputs[index], gap_stride)
        self.served += len(prompts[1])
        self.total += len(prompts[0]) + len(prompts[1])
        self.now += BIN_S
        counted = {("m", name): count.window(0.0, 0.0) for name, count in self.counts.items()}
        self.ledger.read("gateway", counted, self.now)

    def judge(self, policy: AnalysisPolicy, since: float) -> Judgement:
        """Judge the canary as the operator does (`senses.py`)."""
        stable, canary = (self.ledger.window(("m", name), since) for name in self.fleets)
        before = self.ledger.entries(("m", STABLE), self.now - SPAN_S)
        each = self.replicas / self.fleets[CANARY].replicas
        return judge(policy, canary, stable, calm(before, stable, canary, each))


def rollout(
    canary: Canary, rate: float, policy: AnalysisPolicy, weights: list[int], seed: int
) -> Run:
    """Run one rollout to its end."""
    world, why = World(canary, rate, seed), ""
    hold_s = seconds(Rollout().steps[0].hold)
    for weight in weights:
        world.give(weight)
        began, looked, fails = world.now, world.now, 0
        while True:
            world.pass_time()
            if world.now < looked + policy.interval_s:
                continue
            looked = world.now
            judgement = world.judge(policy, began)
            verdict, why = judgement.verdict, f"{weight} %: {judgement.message}"
            fails = _row(fails, verdict)
            if fails >= policy.failure_limit:
                return Run(why, "withdrawn", world.now, world.served, world.total)
            if verdict is Verdict.PASS and world.now >= began + hold_s:
                break
            if world.now >= began + MAX_STEP_S:
                return Run(why, "undecided", world.now, world.served, world.total)
    return Run(why, "promoted", world.now, world.served, world.total)


def _row(fails: int, verdict: Verdict) -> int:
    """Return how many looks in a row said Fail; what could not be decided ends no row."""
    if verdict is Verdict.FAIL:
        return fails + 1
    return 0 if verdict is Verdict.PASS else fails


def _case(job: tuple[Canary, float, AnalysisPolicy, list[int], int, int]) -> dict[str, object]:
    canary, rate, policy, weights, rollouts, seed = job
    runs = [rollout(canary, rate, policy, weights, seed + index) for index in range(rollouts)]
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
    parser.add_argument(
        "--steps", type=int, nargs="*", default=[step.weight for step in Rollout().steps]
    )
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
    jobs = [
        (c, r, policy, said.steps, said.rollouts, said.seed) for c, r in product(chosen, said.rates)
    ]
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
        "command": f"rollout_simulation.py --rollouts {said.rollouts} --seed {said.seed} "
        f"--rates {' '.join(map('{:g}'.format, said.rates))} "
        f"--steps {' '.join(map(str, said.steps))} --canaries "
        f"{' '.join(map(json.dumps, said.canaries))}",
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

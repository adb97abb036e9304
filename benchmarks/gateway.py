"""What the gateway costs, beside a direct connection and beside nginx as a plain proxy.

    python benchmarks/gateway.py [--rounds 3] [--only STAGE …] [--output FILE]

Engine and clients are one process on the second core (`relay_load.py`), the proxies share the
first, one at work at a time; every round asks all of them in turn. Medians over the rounds, with
the least and the greatest. Tells each stage as it ends, writes JSON, needs about 100 seconds.

    latency     200 streams of 10 events a second; each lasts 4 s and is followed by another, so
                50 requests a second come and go: about a fifth of a core for the gateway
    in_step     the same, all streams' events at the same moments, as an engine's steps make them
    one_by_one  200 streams, each event written when the last has been read: what one core carries
                when no two events can share a read
    rate        200 streams of 100 events a second: 20,000 a second on a clock
    flood       200 streams, as fast as they are read; events share reads and writes
    memory      resident: idle, with 200 and with 1,000 open streams

`added_p99_ms` is over the direct connection of the same round. `foreign_percent` is the share of
both cores that other programs took in the window: latencies count where it is near zero, CPU time
per event is good elsewhere, too.

The bar of 20,000 events a second is judged by `events_per_s` of `one_by_one`: events that were
read, by the clock. `events_per_core_s` beside it is the same per second of CPU time, which a busy
machine hardly changes; it can only be higher, and it is told without a verdict. No bar is met by a
stage in which a request was refused or a stream lost its end.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxies import GOVERNED_MODEL, KEY, LOAD_CORE, PROXY_CORE, Proxy, gateway, nginx, pin
from relay_engine import Engine, Loop
from relay_load import Ask, run
from relay_plan import Load, Pace, Plan

from pagelet_bench.environment import describe

STAGES = {
    "latency": Plan(pace=Pace.OPEN_LOOP, num_events=40, window_s=2.5),
    "in_step": Plan(pace=Pace.IN_STEP, num_events=40, window_s=1.5),
    "one_by_one": Plan(pace=Pace.ONE_BY_ONE, ramp_s=0.2, window_s=1.2),
    "rate": Plan(pace=Pace.OPEN_LOOP, interval_s=0.01, num_events=400, window_s=1.2),
    "flood": Plan(pace=Pace.FLOOD, num_events=150, ramp_s=0.0, window_s=math.inf),
}
MANY = Plan(pace=Pace.OPEN_LOOP, streams=1000, interval_s=1.0, ramp_s=2.0, window_s=0.5)

BAR_ADDED_P99_MS = 5.0
BAR_EVENTS_PER_S = 20_000
BAR_IDLE_MIB = 150
OURS = "gateway, tenants"
RESULTS = Path(__file__).parent / "results"

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked in each round."""

    name: str
    ask: Ask
    proxy: Proxy | None = None


@dataclass(slots=True)
class Probe:
    """Looks at the clocks of proxy, load and machine at both ends of a window."""

    proxy: Proxy | None
    looks: list[tuple[float, float, float]] = field(default_factory=list)
    rss_mib: float = 0.0

    def look(self) -> None:
        """Note CPU seconds of the proxy, of this process and of both cores."""
        used_s = self.proxy.cpu_s() if self.proxy else 0.0
        self.looks.append((used_s, time.process_time(), busy_s()))
        self.rss_mib = self.proxy.rss_mib() if self.proxy else 0.0

    def report(self, load: Load) -> Figures:
        """What the window cost."""
        (used, own, busy), (used_end, own_end, busy_end) = self.looks
        used_s, own_s, all_s = used_end - used, own_end - own, busy_end - busy
        foreign_s = max(0.0, all_s - used_s - own_s) / 2
        found = {
            "load_us_per_event": round(1e6 * own_s / max(1, load.num_in_window), 1),
            "foreign_percent": round(100 * foreign_s / load.window_s, 1),
        }
        if self.proxy is not None:
            found |= {
                "cpu_us_per_event": round(1e6 * used_s / max(1, load.num_in_window), 1),
                "events_per_core_s": round(load.num_in_window / max(used_s, 1e-3)),
                "cpu_percent": round(100 * used_s / load.window_s, 1),
                "rss_mib": self.rss_mib,
            }
        return found


def busy_s() -> float:
    """CPU seconds both cores have been busy for anybody; steal counts."""
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in (f"cpu{PROXY_CORE}", f"cpu{LOAD_CORE}"):
            user, nice, system, _idle, _wait, irq, soft, steal = map(int, fields[:8])
            total += user + nice + system + irq + soft + steal
    return total / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Bench:
    """The load, and everything it is sent through."""

    loop: Loop
    engine: Engine
    targets: list[Target]

    def stage(self, plan: Plan, rounds: int) -> dict[str, list[Figures]]:
        """Ask every target in every round; returns figures by target."""
        found: dict[str, list[Figures]] = {target.name: [] for target in self.targets}
        for _ in range(rounds):
            for target in self.targets:
                figures = self.measure(plan, target)
                direct = found["direct"][-1] if found["direct"] else figures
                added = figures["event_p99_ms"] - direct["event_p99_ms"]
                found[target.name].append({**figures, "added_p99_ms": round(added, 3)})
        return found

    def measure(self, plan: Plan, target: Target) -> Figures:
        """One run."""
        probe = Probe(target.proxy)
        load = run(self.loop, self.engine, plan, target.ask, probe=probe.look)
        if load.refusals:
            print(f"{target.name} refused {len(load.refusals)}, first: {load.refusals[0]!r}")
        num_cut = load.num_streams - load.num_whole
        return {**load.report(), "cut_streams": num_cut, **probe.report(load)}


@contextlib.contextmanager
def assembled() -> Iterator[tuple[Bench, Figures]]:
    """Start everything; gives the gateway's memory at rest, too."""
    loop = Loop()
    engine = Engine(loop)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ours = stack.enter_context(gateway(Path(folder), engine.port))
        targets = [Target("direct", Ask(port=engine.port))]
        if shutil.which("nginx"):
            theirs = stack.enter_context(nginx(Path(folder), engine.port))
            targets.append(Target("nginx", Ask(port=theirs.port), theirs))
        governed = Ask(port=ours.port, model=GOVERNED_MODEL, key=KEY)
        targets.append(Target("gateway", Ask(port=ours.port), ours))
        targets.append(Target(OURS, governed, ours))
        yield Bench(loop, engine, targets), {"idle_mib": ours.rss_mib()}


def summary(rounds: list[Figures]) -> dict[str, dict[str, float]]:
    """Median, least and greatest of each figure."""
    return {
        name: {
            "median": round(statistics.median(row[name] for row in rounds), 3),
            "min": min(row[name] for row in rounds),
            "max": max(row[name] for row in rounds),
        }
        for name in rounds[0]
    }


def line(stage: str, target: str, found: dict[str, dict[str, float]]) -> str:
    """One line of figures."""
    middle = {name: figure["median"] for name, figure in found.items()}
    added = found["added_p99_ms"]
    text = (
        f"{stage:10} {target:16} {middle['events_per_s']:7.0f}/s  p50 {middle['event_p50_ms']:7.2f}"
        f"  p99 {middle['event_p99_ms']:7.2f} ms"
    )
    if "cpu_us_per_event" in middle:
        text += (
            f"  added p99 {middle['added_p99_ms']:6.2f} ({added['min']:.2f} to {added['max']:.2f})"
            f"  {middle['cpu_us_per_event']:5.1f} us/event, {middle['events_per_core_s']:6.0f} per "
            f"core-second, ttft p50 {middle['ttft_p50_ms']:.1f}"
        )
    return f"{text}  foreign {middle['foreign_percent']:.0f} %"


Stages = dict[str, dict[str, dict[str, dict[str, float]]]]
"""By stage, target and figure: median, least and greatest."""


def verdicts(stages: Stages, memory: Figures) -> list[dict[str, Any]]:
    """Figures beside their bars, of the gateway with tenants.

    `met` is None where a figure is told and not judged; `spoilt` says what keeps it from counting.
    """

    def judge(stage: str, figure: str, bar: float, beside: tuple[str, ...]) -> dict[str, Any]:
        found = stages[stage][OURS]
        value, spoilt = found[figure]["median"], _spoilt(stages[stage], (OURS, *beside))
        is_met = value <= bar if figure == "added_p99_ms" else value >= bar
        verdict = {"figure": figure, "is": value, "bar": bar, "met": is_met and not spoilt}
        return verdict | {"stage": stage, "spoilt": spoilt}

    idle, told = memory["idle_mib"], []
    if "latency" in stages:
        told.append(judge("latency", "added_p99_ms", BAR_ADDED_P99_MS, ("direct",)))
    if "one_by_one" in stages:
        told.append(judge("one_by_one", "events_per_s", BAR_EVENTS_PER_S, ()))
        by_cpu = judge("one_by_one", "events_per_core_s", BAR_EVENTS_PER_S, ())
        told.append(by_cpu | {"met": None})
    return [
        *told,
        {"figure": "idle_mib", "is": idle, "bar": BAR_IDLE_MIB, "met": idle <= BAR_IDLE_MIB},
    ]


def _spoilt(stage: dict[str, dict[str, dict[str, float]]], targets: tuple[str, ...]) -> list[str]:
    """What went wrong in a stage, of all its rounds: figures of what failed may look good."""
    names = {"refused": "requests refused", "cut_streams": "streams not whole"}
    return [
        f"{target}: up to {stage[target][name]['max']:.0f} {what} in a round"
        for target in targets
        for name, what in names.items()
        if stage[target][name]["max"] > 0
    ]


@dataclass(slots=True)
class Report:
    """What is known so far; written after each stage, so that an early end loses one stage."""

    output: Path
    begun_at: float = field(default_factory=time.monotonic)
    load_before: tuple[float, float, float] = field(default_factory=os.getloadavg)
    memory: Figures = field(default_factory=dict)
    stages: Stages = field(default_factory=dict)
    rounds: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)

    def add(self, stage: str, rounds: dict[str, list[Figures]]) -> None:
        """Take a stage, and tell it."""
        self.rounds[stage] = rounds
        self.stages[stage] = {target: summary(rows) for target, rows in rounds.items()}
        for target, found in self.stages[stage].items():
            print(line(stage, target, found), flush=True)
        self.write()

    def write(self) -> None:
        """Write all of it."""
        whole = {
            **describe(),
            "load_average": {"before": self.load_before, "after": os.getloadavg()},
            "seconds": round(time.monotonic() - self.begun_at, 1),
            "bars": verdicts(self.stages, self.memory),
            "memory": self.memory,
            "stages": self.stages,
            "rounds": self.rounds,
        }
        self.output.write_text(json.dumps(whole, indent=1) + "\n")

    def conclude(self) -> None:
        """Tell memory and bars."""
        print(f"memory, MiB: {self.memory}; {time.monotonic() - self.begun_at:.0f} s")
        for bar in verdicts(self.stages, self.memory):
            verdict = {True: "met", False: "missed", None: "told, not judged"}[bar["met"]]
            spoilt = "".join(f"; {what}" for what in bar.get("spoilt", ()))
            print(f"{bar['figure']}: {bar['is']}, bar {bar['bar']}, {verdict}{spoilt}")
        print(f"written to {self.output}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=STAGES, default=list(STAGES))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    report = Report(options.output or RESULTS / f"gateway-{time.strftime('%Y-%m-%d')}.json")
    pin(os.getpid(), LOAD_CORE)
    with assembled() as (bench, report.memory):
        idle_mib = report.memory["idle_mib"]
        print(f"load average {report.load_before[0]:.1f}, gateway idle {idle_mib} MiB", flush=True)
        for name in options.only:
            report.add(name, bench.stage(STAGES[name], options.rounds))
        report.memory |= measure_memory(bench)
        report.write()
    report.conclude()


def measure_memory(bench: Bench) -> Figures:
    """Resident memory of the gateway with many open streams."""
    target = bench.targets[-1]
    found = {}
    for plan in (Plan(pace=Pace.OPEN_LOOP, num_events=100, window_s=0.5), MANY):
        figures = bench.measure(plan, target)
        found[f"open_{plan.streams}_mib"] = figures["rss_mib"]
        found[f"open_{plan.streams}_cut"] = figures["streams"] - figures["whole_streams"]
    return found


if __name__ == "__main__":
    main()

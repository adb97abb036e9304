"""Kill the operator before, during and after every write of every scenario, on a real API server.

    KUBEBUILDER_ASSETS=... python benchmarks/crash_points.py --out benchmarks/results/...

Every point is run once, in a namespace of its own; its end must equal that of an undisturbed run
(without times, and what the server chooses). Half an hour on two cores; `--memory` runs the same
points over a store with the API server's semantics in a minute or two.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/support"))

import kube_cluster  # noqa: E402
from kube_crash import Life, Moment, Point, cluster_client, run, store_client  # noqa: E402
from kube_fixtures import establish  # noqa: E402
from kube_scenarios import SCENARIOS, Scenario  # noqa: E402
from kube_store import Store  # noqa: E402

NewLife = Callable[[str], Life]


@dataclass
class Row:
    """One scenario's line of the table."""

    name: str
    writes: int = 0
    tried: dict[Moment, int] = field(default_factory=lambda: dict.fromkeys(Moment, 0))
    same: dict[Moment, int] = field(default_factory=lambda: dict.fromkeys(Moment, 0))
    different: list[str] = field(default_factory=list)


def main() -> int:
    """Run every point and write the table; 1 if one ended otherwise."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--memory", action="store_true", help="without a real API server")
    arguments.add_argument("--sample", type=int, help="so many points only, drawn with seed 1")
    arguments.add_argument("--out", type=Path, help="the table, Markdown")
    said = arguments.parse_args()
    started = time.monotonic()
    place = _memory() if said.memory else _cluster()
    with place as new_life:
        rows = asyncio.run(_all(new_life, said.sample))
    kind = "a store in memory" if said.memory else f"kube-apiserver {_version()}"
    text = _table(rows, kind, time.monotonic() - started)
    print(text)
    if said.out is not None:
        said.out.write_text(text)
    return int(any(row.different for row in rows))


async def _all(new_life: NewLife, sample: int | None) -> list[Row]:
    calm = {}
    for index, (name, scenario) in enumerate(SCENARIOS.items()):
        calm[name] = await run(new_life(f"calm-{index}"), scenario, None)
    points = [
        (name, Point(write, moment))
        for name, life in calm.items()
        for write in range(1, life.writes + 1)
        for moment in Moment
    ]
    if sample is not None:
        points = sorted(random.Random(1).sample(points, sample), key=points.index)
    rows = {name: Row(name, life.writes) for name, life in calm.items()}
    for number, (name, point) in enumerate(points):
        await _try(rows[name], SCENARIOS[name], point, calm[name], new_life(f"point-{number}"))
        print(f"{number + 1} of {len(points)}: {name}, {point}", file=sys.stderr)
    return list(rows.values())


async def _try(row: Row, scenario: Scenario, point: Point, calm: Life, life: Life) -> None:
    row.tried[point.moment] += 1
    what = f"{row.name}, write {point.write}, {point.moment}"
    try:
        await run(life, scenario, point)
        assert life.deaths == 1, "it did not die"
        assert life.end_state() == calm.end_state(), "another end"
    except AssertionError as error:
        row.different.append(f"{what}: {str(error)[:300]}")
    else:
        row.same[point.moment] += 1


@contextmanager
def _memory() -> Iterator[NewLife]:
    def new_life(_: str) -> Life:
        store = Store()
        return Life(store, lambda: store_client(store), "n")

    yield new_life


@contextmanager
def _cluster() -> Iterator[NewLife]:
    binaries = kube_cluster.assets()
    if binaries is None:
        sys.exit("set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver, or say --memory")
    with (
        tempfile.TemporaryDirectory() as folder,
        kube_cluster.running(Path(folder), binaries, establish) as cluster,
    ):

        def new_life(namespace: str) -> Life:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            assert cluster.request("POST", "/api/v1/namespaces", body)[0] == 201
            account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
            while cluster.request("GET", account)[0] != 200:
                time.sleep(0.02)
            return Life(cluster, lambda: cluster_client(cluster), namespace)

        yield new_life


def _version() -> str:
    binary = Path(os.environ["KUBEBUILDER_ASSETS"]) / "kube-apiserver"
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def _table(rows: list[Row], kind: str, took_s: float) -> str:
    points = sum(sum(row.tried.values()) for row in rows)
    every = sum(row.writes * len(Moment) for row in rows)
    bad = [line for row in rows for line in row.different]
    lines = [
        "# Crash points of the operator",
        "",
        f"The operator is killed at each of its writes, before the write is sent, after it was "
        f"carried out and before the answer, and after the answer. {points} of {every} "
        f"points on {kind}, each "
        f"once, in {took_s / 60:.0f} minutes (`benchmarks/crash_points.py`). A point holds if the "
        f"next operator ends where an undisturbed one does: the same objects, the same status but "
        f"for times, no orphan, no step or retention timer started anew, weights that sum to 100 "
        f"at every look, and no weight on a revision without a ready pod.",
        "",
        "`scaling.minReplicas` is at least 1, so no model scales from or to 0: the scenario that "
        "scales goes from 1 to 2 to 1 replicas in its place.",
        "",
        "| scenario | writes | " + " | ".join(Moment) + " | end differs |",
        "|---|---|" + "---|" * (len(Moment) + 1),
    ]
    for row in rows:
        held = " | ".join(f"{row.same[moment]}/{row.tried[moment]}" for moment in Moment)
        lines.append(f"| {row.name} | {row.writes} | {held} | {len(row.different)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in bad)]).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())

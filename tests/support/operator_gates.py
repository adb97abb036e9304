"""Gates for tests: they run what they are told to, and the test ends it."""

from collections.abc import Mapping

from pagelet_operator.core.gate_report import Report
from pagelet_operator.core.gates import GateResult, GateRun, GateStatus
from pagelet_operator.core.model import ModelRef
from pagelet_operator.ports import GateOrder, UnavailableError

GOOD = {"requests": 2.0, "failed": 0.0, "prompts": 2.0, "agreementPercent": 100.0}


class FakeGates:
    """Every try that was started and not stopped; `away` makes the world silent."""

    def __init__(self) -> None:
        self.runs: dict[GateRun, GateResult] = {}
        self.orders: list[GateOrder] = []
        self.stopped: list[GateRun] = []
        self.kept: list[Report] = []
        self.away = False
        self.is_full = False

    async def observe(self, ref: ModelRef) -> Mapping[GateRun, GateResult]:
        if self.away:
            raise UnavailableError("no answer")
        return dict(self.runs)

    async def start(self, order: GateOrder) -> None:
        if order.run not in self.runs:
            self.runs[order.run] = GateResult(status=GateStatus.RUNNING)
            self.orders.append(order)

    async def keep(self, ref: ModelRef, report: Report) -> str:
        if self.is_full:
            raise UnavailableError("no room")
        self.kept.append(report)
        return f"shelf/{report.name}"

    async def stop(self, ref: ModelRef, run: GateRun) -> None:
        self.stopped.append(run)
        self.runs.pop(run, None)

    def end(self, status: GateStatus = GateStatus.MEASURED, **figures: float) -> None:
        """End the one try that runs."""
        (run,) = [run for run, found in self.runs.items() if found.status is GateStatus.RUNNING]
        self.runs[run] = GateResult(status=status, figures=GOOD | figures, message="")

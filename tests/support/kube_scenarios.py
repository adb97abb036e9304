"""What happens to a resource: the scenarios at whose every write the operator is killed."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from kube_crash import Life

SPEC: dict[str, Any] = {
    "model": {"source": "dummy://tiny"},
    "rollout": {
        "steps": [{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "30s"}],
        "retainStable": "100s",
        "progressDeadline": "60s",
        "analysis": {"metrics": []},
    },
}
HOLD_S, RETAIN_S, DEADLINE_S, DRAIN_S = 31.0, 101.0, 61.0, 6.0
"""A little more than the times of `SPEC`, so that they are over despite a restart."""


async def _nothing(_: Life) -> None:
    """Start from an empty namespace."""


async def _serve(life: Life) -> None:
    life.create(SPEC)
    await life.settle()
    life.ready(life.canary())
    await life.settle()


async def _begin(life: Life, length: int) -> None:
    """Bring a new revision to the first step."""
    life.change({"engine": {"maxModelLen": length}})
    await life.settle()
    life.ready(life.canary())
    await life.settle()


async def _pass(life: Life, seconds: float) -> None:
    life.now += seconds
    await life.settle()


async def _promote(life: Life) -> None:
    await _begin(life, 512)
    for seconds in (HOLD_S, HOLD_S, RETAIN_S):
        await _pass(life, seconds)


async def _fail(life: Life) -> None:
    life.change({"engine": {"maxModelLen": 512}})
    await life.settle()
    await _pass(life, DEADLINE_S)
    await _pass(life, DRAIN_S)


async def _change_again(life: Life) -> None:
    await _begin(life, 512)
    await _begin(life, 1024)
    for seconds in (HOLD_S, HOLD_S, RETAIN_S):
        await _pass(life, seconds)


async def _delete(life: Life) -> None:
    await _begin(life, 512)
    life.delete()
    await life.settle()


async def _scale(life: Life) -> None:
    life.change({"scaling": {"minReplicas": 2}})
    await life.settle()
    life.ready(life.status()["rollout"]["stable"], 2)
    await life.settle()
    life.change({"scaling": {"minReplicas": 1}})
    await life.settle()


async def _turn_back(life: Life) -> None:
    """Edit the spec back after a promotion: what was kept warm serves again."""
    await _begin(life, 512)
    for seconds in (HOLD_S, HOLD_S):
        await _pass(life, seconds)
    life.change({"engine": {"maxModelLen": None}})
    await life.settle()
    for seconds in (HOLD_S, HOLD_S, RETAIN_S):
        await _pass(life, seconds)


async def _abort(life: Life) -> None:
    await _begin(life, 512)
    life.command("abort/1")
    await life.settle()
    await _pass(life, DRAIN_S)


async def _pause(life: Life) -> None:
    """Longer than every hold and deadline: no time of the pause counts."""
    await _begin(life, 512)
    await _pass(life, 10.0)
    life.command("pause/1")
    await life.settle()
    await _pass(life, 1000.0)
    assert life.status()["canary"]["weight"] == 10
    life.command("resume/2")
    await life.settle()
    await _pass(life, 10.0)
    assert life.status()["canary"]["weight"] == 10
    for seconds in (HOLD_S, HOLD_S, RETAIN_S):
        await _pass(life, seconds)


async def _promote_by_hand(life: Life) -> None:
    await _begin(life, 512)
    life.command("promote-full/1")
    await life.settle()
    await _pass(life, RETAIN_S)


Part = Callable[[Life], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """What happens, and what had happened before, undisturbed."""

    name: str
    happens: Part
    ends: str | None = "Stable"
    """The phase in the end; None where the resource is gone."""
    prelude: Part = _serve


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("create", _serve, prelude=_nothing),
        Scenario("promote", _promote),
        Scenario("fail", _fail, "Failed"),
        Scenario("spec change in the middle", _change_again),
        Scenario("delete in the middle", _delete, None),
        Scenario("abort", _abort, "Failed"),
        Scenario("pause and resume", _pause),
        Scenario("promote by hand", _promote_by_hand),
        Scenario("scale 1 to 2 to 1", _scale),
        Scenario("way back after promotion", _turn_back),
    )
}

"""The whole estimate of one resource: sizes, speed, replicas, GPUs, money, and what is fragile."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pagelet_operator.core.model import Capacity, Strategy
from pagelet_operator.core.planner import fleet
from pagelet_operator.core.planner.devices import Device
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.fleet import Peak, Price
from pagelet_operator.core.planner.fragile import Caps, fragile
from pagelet_operator.core.planner.memory import EngineNumbers, MemoryPlan, plan_memory
from pagelet_operator.core.planner.mix import Mix
from pagelet_operator.core.planner.service import Replica, Service, Targets, places
from pagelet_operator.core.planner.shape import ModelShape
from pagelet_operator.core.planner.step_time import MeasuredRun, StepTime, from_data_sheet, from_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What a ModelDeployment says that a plan depends on."""

    engine: EngineNumbers
    caps: Caps
    targets: Targets
    min_replicas: int
    max_replicas: int | None
    """None where the number is fixed."""
    gpus_each: int
    """GPUs that a replica asks for, at least one on a GPU."""
    strategy: Strategy
    capacity: Capacity
    weights: tuple[int, ...]
    """The canary's shares, percent, rising."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked beside the resource; None where nobody says."""

    device: Device
    run: MeasuredRun | None = None
    mix: Mix | None = None
    rate_per_s: float | None = None
    headroom: float = 0.3
    """Share of a replica's capacity that stays free, in [0, 1)."""
    price: Price | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How many sequences of one length the cache holds."""

    name: str
    tokens: float
    sequences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The answer; None where the question lacks what it takes."""

    device: str
    shape: ModelShape
    memory: MemoryPlan
    fits: tuple[Fit, ...]
    places: float | None
    """Sequences at once, by `maxNumSeqs` and by 90 % of the cache."""
    steps: StepTime | None
    mix: Mix | None
    most: Service | None
    """One replica at its highest load within the targets."""
    rate_per_s: float | None
    replicas: int
    expected: Service | None
    """One of these replicas at the rate."""
    peaks: tuple[Peak, ...]
    gpus: int
    """Of the replicas outside a rollout."""
    price: Price | None
    monthly: float | None
    warnings: tuple[str, ...]


def estimate(shape: ModelShape, resource: Resource, question: Question) -> Estimate:
    """Return the estimate.

    Raises:
        PlanError: It cannot work as written, or an input is out of range; names the field.
    """
    _check(question)
    memory = plan_memory(shape, resource.engine, question.device)
    steps = _step_time(shape, memory, question)
    mix = question.mix
    replica = Replica(memory, steps, mix) if steps and mix else None
    most = replica.most(resource.targets) if replica else None
    rate = _rate(question)
    needed = None if most is None or rate is None else _needed(rate, most, question)
    replicas = max(resource.min_replicas, needed or 0)
    gpus_each = resource.gpus_each if question.device.is_gpu else 0
    return Estimate(
        device=question.device.name,
        shape=shape,
        memory=memory,
        fits=tuple(_fits(memory, mix)),
        places=None if mix is None else places(memory, mix),
        steps=steps,
        mix=mix,
        most=most,
        rate_per_s=rate,
        replicas=replicas,
        expected=replica.at_rate(rate / replicas) if replica and needed and rate else None,
        peaks=fleet.peaks(replicas, resource.weights, gpus_each),
        gpus=replicas * gpus_each,
        price=question.price,
        monthly=_monthly(question.price, replicas * max(1, gpus_each)),
        warnings=(
            *fragile(memory, resource.caps, mix),
            *_limits(resource, question.device, needed, replicas),
            *_speed(resource.targets, replica, most),
        ),
    )


def _check(question: Question) -> None:
    rate, headroom = question.rate_per_s, question.headroom
    if rate is not None and not 0 < rate < math.inf:
        raise PlanError(f"--rate is {rate:g}; write requests per second, above 0")
    if not 0 <= headroom < 1:
        raise PlanError(f"--headroom is {headroom:g}; write a share from 0 to below 1, such as 0.3")
    if question.rate_per_s is not None and question.mix is None:
        raise PlanError(
            "--rate needs the lengths of requests: --prompt-tokens and --output-tokens, --trace, "
            "or --lengths-from"
        )


def _step_time(shape: ModelShape, memory: MemoryPlan, question: Question) -> StepTime | None:
    if question.run is not None:
        return from_run(shape, memory, question.run)
    return from_data_sheet(shape, memory, question.device)


def _rate(question: Question) -> float | None:
    if question.rate_per_s is not None or question.mix is None:
        return question.rate_per_s
    return question.mix.rate_per_s


def _monthly(price: Price | None, devices: int) -> float | None:
    return None if price is None else fleet.monthly(price, devices)


def _needed(rate: float, most: Service, question: Question) -> int:
    return fleet.replicas_for(rate, most.requests_per_s, question.headroom)


def _fits(memory: MemoryPlan, mix: Mix | None) -> Iterator[Fit]:
    if mix is not None:
        for name in ("p50", "p95", "p99"):
            tokens = getattr(mix.prompts, name) + getattr(mix.outputs, name)
            tokens = min(tokens, memory.max_model_len)
            yield Fit(name=name, tokens=tokens, sequences=memory.fits(tokens))
    window = memory.max_model_len
    yield Fit(name="maxModelLen", tokens=window, sequences=memory.fits(window))


def _limits(resource: Resource, device: Device, needed: int | None, replicas: int) -> Iterator[str]:
    most = resource.min_replicas if resource.max_replicas is None else resource.max_replicas
    if needed is not None and needed > most:
        field = "minReplicas" if resource.max_replicas is None else "maxReplicas"
        yield f"the rate needs {needed} replicas, but scaling.{field} allows {most}; raise it"
    if device.is_gpu and resource.gpus_each > 1:
        yield (
            f"a replica asks for {resource.gpus_each} GPUs (pod.resources), but an engine uses one"
        )
    if replicas == 1 and resource.capacity is Capacity.BORROW:
        yield "rollout.capacity Borrow finds nothing to borrow from one replica; have two"
    if replicas == 1 and resource.strategy is Strategy.RECREATE:
        yield "rollout.strategy Recreate: nobody answers while a new revision starts"


def _speed(targets: Targets, replica: Replica | None, most: Service | None) -> Iterator[str]:
    if replica is None or most is not None:
        return
    alone = replica.idle()
    yield (
        f"no number of replicas keeps spec.scaling.targets (ttftP99 {_ms(targets.ttft_p99_s)}, "
        f"itlP99 {_ms(targets.itl_p99_s)}): an idle replica has a p99 TTFT of "
        f"{_ms(alone.ttft_p99_s)} and a p99 ITL of {_ms(alone.itl_p99_s)}"
    )


def _ms(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * 1000:.4g} ms"

"""What applying some files will do: the answer of `pagelet plan`. Pure."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from pagelet_operator.api.engine_args import engine_args
from pagelet_operator.api.resource import ModelDeployment, template_spec, to_model
from pagelet_operator.core.model import Capacity, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of a rollout, seen from the moment the canary is ready."""

    at_s: float
    weight: int
    """The canary's share of requests from then on, percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """What one resource asks for, in figures."""

    model: str
    served_name: str
    revision: str
    replicas: int
    peak_replicas: int
    """While a new revision takes over from another and for `retain_stable_s` after it; with Auto
    where there is room for them."""
    command: str
    """What each replica runs."""
    steps: tuple[PlannedStep, ...]
    """Of a change that needs new replicas; the first revision serves as soon as it is ready."""
    rollout_s: float
    """From the canary's readiness to its promotion."""
    retain_stable_s: float
    progress_deadline_s: float

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON, in the resource's camelCase; durations are seconds."""
        return {_camel(key): value for key, value in asdict(self).items()} | {
            "steps": [{"atSeconds": step.at_s, "weight": step.weight} for step in self.steps]
        }


def planned(resource: ModelDeployment) -> PlannedModel:
    """Return what a running `pagelet up`, or a cluster, makes of the resource."""
    model = to_model(resource)
    policy = model.rollout
    taken = policy.steps if policy.strategy is Strategy.CANARY else ()
    starts = [0.0, *accumulate(step.hold_s for step in taken)]
    steps = [
        PlannedStep(at_s=at, weight=step.weight) for at, step in zip(starts, taken, strict=False)
    ]
    surges = policy.strategy is not Strategy.RECREATE and policy.capacity in (
        Capacity.AUTO,
        Capacity.SURGE,
    )
    spec = template_spec(model.template)
    return PlannedModel(
        model=str(model.ref),
        served_name=model.served_name,
        revision=model.revision,
        replicas=model.replicas,
        peak_replicas=2 * model.replicas if surges else model.replicas,
        command=shlex.join(["pagelet", "serve", *engine_args(spec, model.ref.name)]),
        steps=(*steps, PlannedStep(at_s=starts[-1], weight=100)),
        rollout_s=starts[-1],
        retain_stable_s=policy.retain_stable_s,
        progress_deadline_s=policy.progress_deadline_s,
    )


def text(models: Sequence[PlannedModel]) -> str:
    """Return plans as people read them."""
    return "\n\n".join(map(_one, models))


def _one(plan: PlannedModel) -> str:
    steps = ", ".join(f"{step.weight} % at {duration(step.at_s)}" for step in plan.steps)
    return "\n".join(
        (
            f"{plan.model} serves {plan.served_name!r}",
            f"  revision  {plan.revision}",
            f"  replicas  {plan.replicas}; {plan.peak_replicas} while a new revision takes over",
            f"  each runs {plan.command}",
            "  first revision: serves as soon as it is ready",
            f"  a new revision, once ready: {steps}",
            f"  promoted after {duration(plan.rollout_s)}; the old one stays warm for "
            f"{duration(plan.retain_stable_s)} more; withdrawn if not ready for "
            f"{duration(plan.progress_deadline_s)}",
        )
    )


def duration(seconds: float) -> str:
    """Return seconds as Kubernetes writes a duration: 90 is 1m30s."""
    whole_ms = round(seconds * 1000)
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, whole_ms = divmod(whole_ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _camel(name: str) -> str:
    whole = name.removesuffix("_s") + "_seconds" if name.endswith("_s") else name
    first, *rest = whole.split("_")
    return first + "".join(word.capitalize() for word in rest)

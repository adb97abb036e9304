"""`spec.scaling`: how many replicas each revision has, and what decides it."""

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from pagelet_operator.api.quantities import Duration, Latency, seconds
from pagelet_operator.api.wire import WireModel
from pagelet_operator.core.demand import places_of
from pagelet_operator.core.model import Template
from pagelet_operator.core.scaling import ScalingPolicy, Targets

INTERVAL_S = 15.0
SHORTEST_INTERVAL_S = 2.0
"""Between two readings: the default, and the least. A window has four readings if it can."""

BOUNDS = "maxReplicas must not be below minReplicas"
EXTERNAL = "external leaves the number to somebody else: remove maxReplicas, or external"


class ScalingTargets(WireModel):
    """What users are promised; a missed target starts replicas."""

    ttft_p99: Latency | None = Field(
        default=None,
        alias="ttftP99",
        description="p99 time to the first token. Default: none, since it depends on the prompts.",
    )
    itl_p99: Latency | None = Field(
        default=None,
        alias="itlP99",
        description="p99 time between tokens. Default: none, since it depends on the hardware.",
    )
    queue_depth: int = Field(
        default=2,
        ge=1,
        le=10_000,
        description=(
            "Waiting requests per ready replica that are still fine. 2: a queue that is gone "
            "within a few steps."
        ),
    )
    kv_cache_usage: int = Field(
        default=85,
        ge=10,
        le=100,
        description=(
            "Percent of a replica's KV cache in use that is still fine. 85: above, requests are "
            "soon preempted and computed twice."
        ),
    )


class ScaleUp(WireModel):
    """How fast replicas may come; the looser of both limits counts."""

    percent_per_minute: int = Field(
        default=100, ge=0, le=1000, description="Of the replicas. 100: at most twice as many."
    )
    replicas_per_minute: int = Field(
        default=4, ge=1, le=1000, description="So that few replicas can become enough at once."
    )


class ScaleDown(WireModel):
    """When replicas may go."""

    window: Duration = Field(
        default="5m",
        description="All signals have to be low for so long. 5m: longer than a pause of a burst.",
    )
    percent_per_minute: int = Field(
        default=10, ge=1, le=100, description="Of the replicas; at least one. Each is drained."
    )
    settle: Duration = Field(
        default="1h",
        description=(
            "After replicas were needed again, none goes for so long: noise turns the number at "
            "most twice in this time."
        ),
    )


class Scaling(WireModel):
    """How many replicas each revision has."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.maxReplicas) || self.maxReplicas >= self.minReplicas",
                    "message": BOUNDS,
                },
                {
                    "rule": "!has(self.maxReplicas) || !self.external",
                    "message": EXTERNAL,
                },
            ]
        }
    )

    min_replicas: int = Field(
        default=1,
        ge=1,
        le=1000,
        description=(
            "Least replicas of every revision that serves; also what `kubectl scale` sets, as a "
            "floor that holds until a lower number is set."
        ),
    )
    max_replicas: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description=(
            "Most replicas. With it the number follows the load. Default: minReplicas, always; "
            "more replicas cost money, so somebody has to ask for them."
        ),
    )
    targets: ScalingTargets = Field(
        default_factory=ScalingTargets, description="What makes a replica more necessary."
    )
    scale_up: ScaleUp = Field(default_factory=ScaleUp, description="How fast replicas come.")
    scale_down: ScaleDown = Field(default_factory=ScaleDown, description="When replicas go.")
    external: bool = Field(
        default=False,
        description=(
            "Whether somebody else, such as a HorizontalPodAutoscaler or KEDA, sets the number by "
            "the scale subresource. False: two scalers would undo each other's work."
        ),
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(
                f"{BOUNDS}: {self.max_replicas} is below {self.min_replicas}; raise the first or "
                f"lower the second"
            )
        if self.max_replicas is not None and self.external:
            raise ValueError(EXTERNAL)
        return self


def scaling_policy(scaling: Scaling, template: Template) -> ScalingPolicy | None:
    """Return what the scaler is asked for; None where it has nothing to decide."""
    if scaling.max_replicas is None or scaling.external:
        return None
    targets, window_s = scaling.targets, seconds(scaling.scale_down.window)
    return ScalingPolicy(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        targets=Targets(
            ttft_p99_s=None if targets.ttft_p99 is None else seconds(targets.ttft_p99),
            itl_p99_s=None if targets.itl_p99 is None else seconds(targets.itl_p99),
            queue_depth=float(targets.queue_depth),
            kv_cache_usage=targets.kv_cache_usage / 100,
        ),
        places=places_of(template),
        up_percent_per_minute=scaling.scale_up.percent_per_minute,
        up_replicas_per_minute=scaling.scale_up.replicas_per_minute,
        interval_s=min(INTERVAL_S, max(SHORTEST_INTERVAL_S, window_s / 4)),
        down_window_s=window_s,
        down_percent_per_minute=scaling.scale_down.percent_per_minute,
        settle_s=seconds(scaling.scale_down.settle),
    )

"""`spec.rollout`: how a new revision takes over from the stable one."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from pagelet_operator.api.analysis import Analysis
from pagelet_operator.api.gates import Gates
from pagelet_operator.api.quantities import Duration, Timeout
from pagelet_operator.api.wire import WireModel, cel_rule

NO_COMPARISON = (
    "gates.parity compares with stable's replicas, which end first with Recreate; leave it out"
)

NO_LOAN = "capacity Borrow and InPlace go with strategy Canary only; leave capacity out"

NO_PROFILE = "baseline Fixed compares with stable's load test; name rollout.gates.loadTest"


class RolloutStep(WireModel):
    """One step of a rollout."""

    weight: int = Field(ge=1, le=100, description="Share of requests the canary gets, percent.")
    hold: Duration = Field(
        default="60s", description="How long the step lasts before the next one begins."
    )
    approval: bool = Field(
        default=False,
        description=(
            "Whether a person has to agree before the step is left: `pagelet rollout promote`. "
            "False: what users feel decides."
        ),
    )


class Rollout(WireModel):
    """How a new revision takes over from the stable one."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel_rule(
                    "!has(self.strategy) || self.strategy == 'Canary' || !has(self.capacity) || "
                    "!(self.capacity in ['Borrow', 'InPlace'])",
                    NO_LOAN,
                ),
                cel_rule(
                    "!has(self.strategy) || self.strategy != 'Recreate' || !has(self.gates) || "
                    "!has(self.gates.parity)",
                    NO_COMPARISON,
                ),
                cel_rule(
                    "!has(self.analysis) || !has(self.analysis.baseline) || "
                    "self.analysis.baseline != 'Fixed' || "
                    "(has(self.gates) && has(self.gates.loadTest))",
                    NO_PROFILE,
                ),
            ]
        }
    )

    strategy: Literal["Canary", "BlueGreen", "Recreate"] = Field(
        default="Canary",
        description=(
            "Canary: traffic rises by `steps`. BlueGreen: all of it moves at once, when all "
            "replicas are ready. Recreate: the old replicas end before the new ones start, and "
            "nobody answers in between. Canary, since few users meet a bad revision."
        ),
    )
    capacity: Literal["Auto", "Surge", "Borrow", "InPlace"] = Field(
        default="Auto",
        description=(
            "Where the canary's replicas find room. Surge: beside all of the stable revision. "
            "Borrow: in the place of some, as many as the live traffic can spare; one at least "
            "serves. InPlace: as Borrow, and the last one as well if no request needs it. Auto: "
            "Surge while the replicas can start, else what spares most. Only Canary may borrow."
        ),
    )

    steps: list[RolloutStep] = Field(
        default_factory=lambda: [
            RolloutStep(weight=2, hold="60s"),
            RolloutStep(weight=10, hold="60s"),
            RolloutStep(weight=50, hold="60s"),
        ],
        min_length=1,
        max_length=32,
        description=(
            "Weights rise strictly; after the last hold the canary becomes stable. The default "
            "exposes 2 % first, so that a bad canary meets few users."
        ),
        json_schema_extra={
            "x-kubernetes-validations": [
                cel_rule(
                    "self.map(s, s.weight).isSorted() && "
                    "self.all(a, self.exists_one(b, b.weight == a.weight))",
                    "step weights must rise strictly, for example 2, 10, 50",
                )
            ]
        },
    )
    analysis: Analysis = Field(
        default_factory=Analysis, description="When the canary counts as worse than the stable."
    )
    gates: Gates = Field(
        default_factory=Gates,
        description="What a canary has to pass before it gets a user's request. Default: nothing.",
    )
    progress_deadline: Timeout = Field(
        default="10m",
        description=(
            "Longest time a canary may lack ready replicas before it is withdrawn, or a step "
            "that is over a verdict before the rollout is paused. 10m covers the pull of a large "
            "image and the load of an 8B model."
        ),
    )
    retain_stable: Duration = Field(
        default="5m",
        description=(
            "How long the replaced stable stays warm without traffic, so that going back loads "
            "no model. Longer costs its memory for longer."
        ),
    )

    @model_validator(mode="after")
    def _only_a_canary_borrows(self) -> Self:
        if self.strategy != "Canary" and self.capacity in ("Borrow", "InPlace"):
            raise ValueError(NO_LOAN)
        return self

    @model_validator(mode="after")
    def _parity_has_a_stable(self) -> Self:
        if self.strategy == "Recreate" and self.gates.parity is not None:
            raise ValueError(NO_COMPARISON)
        return self

    @model_validator(mode="after")
    def _a_stored_profile_is_made(self) -> Self:
        if self.analysis.baseline == "Fixed" and self.gates.load_test is None:
            raise ValueError(NO_PROFILE)
        return self

    @model_validator(mode="after")
    def _weights_rise(self) -> Self:
        weights = [step.weight for step in self.steps]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise ValueError(
                f"step weights must rise strictly, for example 2, 10, 50; got {weights}"
            )
        return self

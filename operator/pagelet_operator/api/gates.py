"""`spec.rollout.gates`: what a canary has to pass before it gets a user's request.

Each gate is off unless it is named: a gate costs time and a replica's attention, and an engine
warms itself up before it says that it is ready. A change of it restarts nothing; a gate that was
passed is run again if what it asks for has changed.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from pagelet_operator.api.quantities import Timeout, seconds
from pagelet_operator.api.wire import WireModel, cel_rule
from pagelet_operator.core.gates import Gate, GateKind

MAX_PROMPTS = 30
MAX_PROMPT_LENGTH = 1000

NO_PROFILE = "loadTest needs a profile, for example mixed48"


class WarmupGate(WireModel):
    """A few requests straight to the canary; all have to succeed."""

    requests: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="How many, one after the other. 4: the first one's time, and a median after.",
    )
    timeout: Timeout = Field(
        default="5m",
        description="Longest time for all. 5m: kernels may be compiled for the first of them.",
    )


class ParityGate(WireModel):
    """Greedy answers of canary and stable to the same prompts."""

    min_agreement_percent: int = Field(
        default=95,
        ge=0,
        le=100,
        description=(
            "Least share of tokens before an answer's first token that differs. 95: the same "
            "weights on the same kind of machine agree to the last token, and one near-tie that "
            "falls otherwise costs one prompt of the 20 its rest."
        ),
    )
    prompts: list[Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_LENGTH)]] = Field(
        default_factory=list,
        max_length=MAX_PROMPTS,
        description="What both complete. Default: 20 built-in prompts of mixed kinds and lengths.",
    )
    max_tokens: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="Tokens of each answer. 32: errors of cache or positions show by then.",
    )
    when_model_changes: Literal["Skip", "Run"] = Field(
        default="Skip",
        description=(
            "What to do if model.source or model.revision differ from stable's: other weights say "
            "other things, and that is no fault. Run compares all the same."
        ),
    )
    timeout: Timeout = Field(default="10m", description="Longest time for all prompts.")


class LoadTestGate(WireModel):
    """`pagelet bench` on one replica of the canary, held to what stable did when it was tested."""

    model_config = ConfigDict(
        json_schema_extra={"x-kubernetes-validations": [cel_rule("has(self.profile)", NO_PROFILE)]}
    )

    profile: Literal["mixed48", "single"] | None = Field(
        default=None,
        description="The load: mixed48, 48 requests of mixed lengths, or single, one stream.",
    )
    requests: int | None = Field(
        default=None, ge=1, le=10_000, description="How many. Default: the profile's."
    )
    concurrency: int | None = Field(
        default=None, ge=1, le=1000, description="How many at once. Default: the profile's."
    )
    max_increase_percent: int = Field(
        default=25,
        ge=0,
        le=10_000,
        description=(
            "How much longer than stable's each latency may be (TTFT and ITL: p50, p95, p99, as "
            "far as the sample is large enough). 25: above the noise of two runs of one revision."
        ),
    )
    max_decrease_percent: int = Field(
        default=20,
        ge=0,
        lt=100,
        description="How much less than stable's output tokens per second may be.",
    )
    max_error_percent: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Requests that may fail or run out of time. 0: nobody else loads the canary.",
    )
    timeout: Timeout = Field(default="15m", description="Longest time for all requests.")

    @model_validator(mode="after")
    def _has_a_profile(self) -> Self:
        if self.profile is None:
            raise ValueError(NO_PROFILE)
        return self


class Gates(WireModel):
    """What a canary has to pass before it gets a user's request."""

    warmup: WarmupGate | None = Field(
        default=None,
        description="A few requests straight to the canary. Default: none, engines warm up alone.",
    )
    parity: ParityGate | None = Field(
        default=None,
        description="The same greedy answers as stable's. Default: not compared.",
    )
    load_test: LoadTestGate | None = Field(
        default=None,
        description=(
            "A load test of the canary alone, compared with stable's stored figures. Default: "
            "none; what users feel decides."
        ),
    )


def gates(spec: Gates) -> tuple[Gate, ...]:
    """Return the gates that are asked for, the cheapest first."""
    found = []
    if spec.warmup is not None:
        settings = {"requests": spec.warmup.requests}
        found.append(Gate(GateKind.WARMUP, settings, seconds(spec.warmup.timeout)))
    if spec.parity is not None:
        found.append(_parity(spec.parity))
    if spec.load_test is not None:
        found.append(_load_test(spec.load_test))
    return tuple(found)


def _parity(spec: ParityGate) -> Gate:
    settings: dict[str, Any] = {"maxTokens": spec.max_tokens}
    if spec.prompts:
        settings["prompts"] = list(spec.prompts)
    limits = {"minAgreementPercent": float(spec.min_agreement_percent)}
    skips = spec.when_model_changes == "Skip"
    return Gate(GateKind.PARITY, settings, seconds(spec.timeout), limits, skips)


def _load_test(spec: LoadTestGate) -> Gate:
    asked = {
        "profile": spec.profile,
        "requests": spec.requests,
        "concurrency": spec.concurrency,
    }
    settings = {name: value for name, value in asked.items() if value is not None}
    limits = {
        "maxIncreasePercent": float(spec.max_increase_percent),
        "maxDecreasePercent": float(spec.max_decrease_percent),
        "maxErrorPercent": float(spec.max_error_percent),
    }
    return Gate(GateKind.LOAD_TEST, settings, seconds(spec.timeout), limits)

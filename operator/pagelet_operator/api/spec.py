"""`spec` of a ModelDeployment, v1alpha1: every field, its default and the default's reason.

The field descriptions are the CRD's and the reference page's. Rules that span fields are
written twice on purpose: as CEL for the API server (`x-kubernetes-validations`, beside the
model they belong to) and as a pydantic validator for one machine; a test feeds the same bad
resources to both.
"""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from pagelet_operator.api.quantities import Duration, Memory, Quantity

SOURCE_PATTERN = r"^(hf|file|pvc|package|dummy)://.+$"
CLAIM_PATTERN = r"^pvc://(?P<claim>[a-z0-9]([-a-z0-9]*[a-z0-9])?)(/(?!.*\.\.)[^/].*)?$"
RESERVED_ENV = r"^(PYTHON.*|LD_.*|PAGELET_.*)$"


def _rule(rule: str, message: str) -> JsonValue:
    return {"rule": rule, "message": message}


def _checked_source(value: str) -> str:
    if not re.fullmatch(SOURCE_PATTERN, value):
        raise ValueError(
            f"{value!r} is no source; write hf://org/repo, file:///path, pvc://claim/path, "
            f"package://python_package/file.gguf or dummy://name"
        )
    if value.startswith("pvc://") and not re.fullmatch(CLAIM_PATTERN, value):
        raise ValueError(
            f"{value!r} names no claim; write pvc://claim/path with the PersistentVolumeClaim's "
            f"name in lower case and no .. in the path"
        )
    return value


Source = Annotated[
    str,
    AfterValidator(_checked_source),
    WithJsonSchema({"type": "string", "pattern": SOURCE_PATTERN, "maxLength": 1024}),
]


class WireModel(BaseModel):
    """A part of the resource: camelCase on the wire, unknown keys refused, frozen.

    Strict, so that `"2"` is no number here either: the API server would refuse it.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True
    )


class SecretKeyRef(WireModel):
    """One key of a Secret in the resource's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="Key inside the Secret.")


class ModelSource(WireModel):
    """Which model, and where its files are."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _rule(
                    "has(self.name) == has(oldSelf.name) && "
                    "(!has(self.name) || self.name == oldSelf.name)",
                    "model.name cannot change, since clients send it; make a second "
                    "ModelDeployment and move them over",
                )
            ]
        }
    )

    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="The `model` that clients send. Default: the resource's own name.",
    )
    source: Source = Field(
        description=(
            "Where the weights are: hf://org/repo, file:///path, pvc://claim/path, "
            "package://python_package/file.gguf, or dummy://name for random weights of a known "
            "shape (benchmarks)."
        ),
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description=(
            "Commit or tag of a hub model. Default: its default branch; pin a commit, so that a "
            "restart cannot change the model."
        ),
    )
    token_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Token of a gated hub model. On one machine HF_TOKEN is read instead.",
    )


class EngineSettings(WireModel):
    """How an engine runs the model. A change starts a new revision."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _rule(
                    "!has(self.maxNumBatchedTokens) || self.maxNumBatchedTokens >= "
                    "(has(self.maxNumSeqs) ? self.maxNumSeqs : 64)",
                    "maxNumBatchedTokens must be at least maxNumSeqs: a full batch could not "
                    "decode one token each",
                )
            ]
        }
    )

    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="Container image of the engine. Default: the operator's own setting.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description=(
            "Type of weights and KV cache. auto: bfloat16 on a GPU, float32 on a CPU, where the "
            "others are slower or inexact."
        ),
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto takes a GPU when there is one."
    )
    max_model_len: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description=(
            "Most tokens of prompt plus output. Default: the model's context window; lower it "
            "when one sequence of that length would not fit the KV cache."
        ),
    )
    block_size: Literal[8, 16, 32, 64, 128] = Field(
        default=16,
        description=(
            "Tokens per KV block. 16 wastes under 4 % of the cache in last blocks at mixed lengths."
        ),
    )
    max_num_seqs: int = Field(
        default=64,
        ge=1,
        le=4096,
        description=(
            "Most sequences in one step. More raises throughput until memory bandwidth is used "
            "up, and ITL with it; 64 suits both a laptop and one GPU."
        ),
    )
    max_num_batched_tokens: int | None = Field(
        default=None,
        ge=1,
        le=1_048_576,
        description=(
            "Most tokens in one step; a prompt chunk of this size is the longest a decoding "
            "client waits. Default: 2048 on a GPU, 512 on a CPU."
        ),
    )
    kv_cache_memory: Memory | None = Field(
        default=None,
        description=(
            "Memory of the KV cache, e.g. 2Gi. Default: what gpuMemoryFraction leaves on a GPU; "
            "on a CPU what maxNumSeqs sequences of average length need."
        ),
    )
    gpu_memory_fraction: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description=(
            "Share of the GPU's memory for weights, activations and KV cache. The rest is for "
            "the driver and fragmentation."
        ),
    )

    @model_validator(mode="after")
    def _budget_holds_a_batch(self) -> Self:
        budget = self.max_num_batched_tokens
        if budget is not None and budget < self.max_num_seqs:
            raise ValueError(
                f"maxNumBatchedTokens ({budget}) must be at least maxNumSeqs "
                f"({self.max_num_seqs}): a full batch could not decode one token each"
            )
        return self


class EnvVar(WireModel):
    """One environment variable of the engine's container, as a plain value."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)] = (
        Field(description="Name. PYTHON*, LD_* and PAGELET_* are refused: they could change code.")
    )
    value: str = Field(default="", max_length=4096, description="Value, as it is.")

    @model_validator(mode="after")
    def _harmless(self) -> Self:
        if self.name.startswith(("PYTHON", "LD_", "PAGELET_")):
            raise ValueError(
                f"env {self.name} is reserved; PYTHON*, LD_* and PAGELET_* are refused"
            )
        return self

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _rule(
                    f"!self.name.matches('{RESERVED_ENV}')",
                    "env names PYTHON*, LD_* and PAGELET_* are reserved",
                )
            ]
        }
    )


class Resources(WireModel):
    """Compute resources of one engine container, as in a Pod."""

    requests: dict[str, Quantity] = Field(
        default_factory=dict, max_length=32, description="What the scheduler reserves."
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict,
        max_length=32,
        description="What may be used at most, e.g. nvidia.com/gpu: 1.",
    )


class Toleration(WireModel):
    """A toleration, as in a Pod."""

    key: str | None = Field(default=None, description="Taint key; absent matches all keys.")
    operator: Literal["Exists", "Equal"] = Field(default="Equal", description="How value matches.")
    value: str | None = Field(default=None, description="Taint value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Taint effect; absent matches all effects."
    )
    toleration_seconds: int | None = Field(
        default=None, description="How long NoExecute is tolerated, seconds."
    )


class LocalObjectReference(WireModel):
    """An object in the resource's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the object.")


class PodSettings(WireModel):
    """What the engine's pods need of the cluster. Ignored on one machine, except env."""

    resources: Resources = Field(
        default_factory=Resources, description="Requests and limits of the engine container."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels that a node must have."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=32, description="Taints that the pods tolerate."
    )
    affinity: dict[str, Any] | None = Field(
        default=None,
        description="Affinity, as in a Pod.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=64,
        description="Environment of the engine container; each name once.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    image_pull_secrets: list[LocalObjectReference] = Field(
        default_factory=list, max_length=8, description="Secrets for pulling the image."
    )
    runtime_class_name: str | None = Field(
        default=None, max_length=253, description="RuntimeClass, e.g. nvidia."
    )
    priority_class_name: str | None = Field(
        default=None, max_length=253, description="PriorityClass of the pods."
    )
    service_account_name: str | None = Field(
        default=None,
        max_length=253,
        description="ServiceAccount of the pods. Default: the namespace's, no token mounted.",
    )

    @field_validator("env")
    @classmethod
    def _names_once(cls, env: list[EnvVar]) -> list[EnvVar]:
        names = [item.name for item in env]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is set twice; keep one of the two")
        return env


class Limits(WireModel):
    """What one request may use. A change takes effect at the gateway and restarts nothing."""

    request_timeout: Duration = Field(
        default="10m",
        description=(
            "Longest time from request to last token; the stream ends with an error after it. "
            "10m lets 8k tokens out at 14 tokens per second."
        ),
    )


class Scaling(WireModel):
    """How many replicas each revision has."""

    min_replicas: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Replicas of every revision that serves; also what `kubectl scale` sets.",
    )


class RolloutStep(WireModel):
    """One step of a rollout."""

    weight: int = Field(ge=1, le=100, description="Share of requests the canary gets, percent.")
    hold: Duration = Field(
        default="60s", description="How long the step lasts before the next one begins."
    )


class Rollout(WireModel):
    """How a new revision takes over from the stable one."""

    steps: list[RolloutStep] = Field(
        default_factory=lambda: [
            RolloutStep(weight=5, hold="60s"),
            RolloutStep(weight=25, hold="60s"),
            RolloutStep(weight=50, hold="60s"),
        ],
        min_length=1,
        max_length=32,
        description=(
            "Weights rise strictly; after the last hold the canary becomes stable. The default "
            "exposes 5 % first, so that a bad canary meets few users."
        ),
        json_schema_extra={
            "x-kubernetes-validations": [
                _rule(
                    "self.map(s, s.weight).isSorted() && "
                    "self.all(a, self.exists_one(b, b.weight == a.weight))",
                    "step weights must rise strictly, for example 5, 25, 50",
                )
            ]
        },
    )
    progress_deadline: Duration = Field(
        default="10m",
        description=(
            "Longest time a canary may lack ready replicas before it is withdrawn. 10m covers "
            "the pull of a large image and the load of an 8B model."
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
    def _weights_rise(self) -> Self:
        weights = [step.weight for step in self.steps]
        if any(later <= earlier for earlier, later in pairwise(weights)):
            raise ValueError(
                f"step weights must rise strictly, for example 5, 25, 50; got {weights}"
            )
        return self


class ModelDeploymentSpec(WireModel):
    """What a ModelDeployment asks for. Only `model.source` is required."""

    model: ModelSource = Field(description="Which model, and where its files are.")
    engine: EngineSettings = Field(
        default_factory=EngineSettings, description="How an engine runs the model."
    )
    pod: PodSettings = Field(
        default_factory=PodSettings, description="What the engine's pods need of the cluster."
    )
    limits: Limits = Field(default_factory=Limits, description="What one request may use.")
    scaling: Scaling = Field(default_factory=Scaling, description="How many replicas.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a new revision takes over.")

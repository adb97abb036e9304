"""`spec.model` and `spec.engine`: which model, and how an engine runs it."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, model_validator

from pagelet_operator.api.quantities import Latency, Memory
from pagelet_operator.api.wire import WireModel, cel_rule

SOURCE_PATTERN = r"^(hf|file|pvc|package|dummy)://.+$"
OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
KEY_PATTERN = r"^[-._a-zA-Z0-9]+$"
CLAIM_PATTERN = r"^pvc://(?P<claim>[a-z0-9]([-a-z0-9]*[a-z0-9])?)(/(?!.*\.\.)[^/].*)?$"


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


class SecretKeyRef(WireModel):
    """One key of a Secret in the resource's namespace."""

    name: str = Field(
        min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN, description="Name of the Secret."
    )
    key: str = Field(
        min_length=1, max_length=253, pattern=KEY_PATTERN, description="Key inside the Secret."
    )


class ModelSource(WireModel):
    """Which model, and where its files are."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel_rule(
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
                cel_rule(
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

    target_itl: Latency | None = Field(
        default=None,
        description=(
            "Longest step while sequences decode, at the 99th percentile, e.g. 50ms: prompt chunks "
            "are sized by it. Lower makes streams smoother and prompts slower. Default: none; a "
            "chunk may fill maxNumBatchedTokens."
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

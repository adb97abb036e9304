"""An estimate as people read it, and as JSON."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from pagelet_operator.core.planner.estimate import Estimate
from pagelet_operator.core.planner.memory import gib
from pagelet_operator.core.planner.mix import Lengths
from pagelet_operator.core.planner.service import Service

_NAME = 12
"""Width of the first column."""


def text(found: Estimate) -> str:
    """Return the estimate as lines of a name and what is said of it."""
    rows = [*_sizes(found), *_speed(found), *_fleet(found)]
    lines = [f"  {name:<{_NAME}}{said}" for name, said in rows]
    return "\n".join((*lines, *(f"  warning: {warning}" for warning in found.warnings)))


def to_json(found: Estimate) -> dict[str, Any]:
    """Return the estimate as JSON, in camelCase; what is unknown or infinite is null."""
    document: dict[str, Any] = _jsonable(asdict(found))
    document["shape"]["numParameters"] = found.shape.num_parameters
    document["memory"]["kvTokens"] = found.memory.kv_tokens
    if found.mix is not None:
        document["mix"]["heldTokens"] = found.mix.held_tokens
    return document


def _sizes(found: Estimate) -> Iterator[tuple[str, str]]:
    memory = found.memory
    yield "on", f"{found.device}, {gib(memory.device_bytes)} free for one replica"
    yield (
        "weights",
        f"{gib(memory.weights_bytes)}: {found.shape.num_parameters:,} parameters in {memory.dtype}",
    )
    yield "activations", f"{gib(memory.activation_bytes)}; left unused {gib(memory.unused_bytes)}"
    yield (
        "KV cache",
        f"{gib(memory.kv_cache_bytes)}: {memory.num_blocks:,} blocks of {memory.block_size}, "
        f"{memory.kv_tokens:,} tokens at {gib(memory.token_bytes)}",
    )
    fits = ", ".join(
        f"{fit.sequences} of {fit.name} ({fit.tokens:.0f} tokens)" for fit in found.fits
    )
    yield "cache holds", fits
    if found.places is not None:
        yield "at once", f"{found.places:.0f} requests of this mix, by maxNumSeqs and 90 % of cache"


def _speed(found: Estimate) -> Iterator[tuple[str, str]]:
    if found.mix is not None:
        mix = f"prompts {_lengths(found.mix.prompts)}, outputs {_lengths(found.mix.outputs)}"
        yield "lengths", f"{mix} ({found.mix.source})"
    if found.steps is None:
        yield "speed", "unknown; give --measured with a run of one request at a time"
        return
    yield "speed", f"an estimate from {found.steps.source}"
    if found.most is not None:
        yield "one replica", f"at most {_service(found.most)}"
    elif found.mix is None:
        yield "one replica", "unknown without lengths; give --prompt-tokens and --output-tokens"


def _fleet(found: Estimate) -> Iterator[tuple[str, str]]:
    rate = "" if found.rate_per_s is None else f" for {found.rate_per_s:.4g} requests/s"
    gpus = f", {found.gpus} GPUs" if found.gpus else ""
    yield "replicas", f"{found.replicas}{rate}{gpus}"
    if found.expected is not None:
        yield "each gives", _service(found.expected)
    each = ", ".join(
        f"{peak.mode} {peak.gpus or peak.replicas}{'' if peak.works else ' (finds no room)'}"
        for peak in found.peaks
    )
    yield "at peak", f"{'GPUs' if found.gpus else 'replicas'} of a rollout: {each}"
    if found.price is not None and found.monthly is not None:
        yield (
            "a month",
            f"{found.monthly:,.2f} {found.price.currency} at {found.price.amount:g} an hour each, "
            f"rollouts not counted",
        )


def _service(given: Service) -> str:
    ttft = f"{_ms(given.ttft_p50_s)} / {_ms(given.ttft_p95_s)} / {_ms(given.ttft_p99_s)}"
    return (
        f"{given.requests_per_s:.3g} requests/s, {given.output_tokens_per_s:.4g} output tokens/s "
        f"with {given.running:.3g} at once; TTFT p50/p95/p99 {ttft}; ITL mean {_ms(given.itl_s)}, "
        f"p99 {_ms(given.itl_p99_s)}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def _lengths(lengths: Lengths) -> str:
    return (
        f"p50/p95/p99 {lengths.p50:.0f}/{lengths.p95:.0f}/{lengths.p99:.0f}, "
        f"mean {lengths.mean:.0f}"
    )


def _jsonable(value: Any) -> Any:
    match value:
        case dict():
            return {_camel(str(key)): _jsonable(item) for key, item in value.items()}
        case list() | tuple():
            return [_jsonable(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value


def _camel(name: str) -> str:
    whole = name.removesuffix("_s") + "_seconds" if name.endswith("_s") else name
    whole = whole.replace("_per_seconds", "_per_second")
    first, *rest = whole.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)

"""What a ModelDeployment says, in the terms of a plan."""

import math

from pagelet_operator.api.engine import EngineSettings
from pagelet_operator.api.quantities import memory_bytes, seconds
from pagelet_operator.api.resource import ModelDeployment
from pagelet_operator.core.model import Capacity, Strategy
from pagelet_operator.core.planner.estimate import Resource
from pagelet_operator.core.planner.fragile import Caps
from pagelet_operator.core.planner.memory import EngineNumbers
from pagelet_operator.core.planner.service import Targets

_GPU_RESOURCE = "nvidia.com/gpu"


def planned_resource(resource: ModelDeployment) -> Resource:
    """Translate an accepted resource."""
    spec = resource.spec
    targets, limits, scaling = spec.scaling.targets, spec.limits, spec.scaling
    return Resource(
        engine=_numbers(spec.engine),
        caps=Caps(
            max_prompt_tokens=limits.max_prompt_tokens,
            max_output_tokens=limits.max_output_tokens,
        ),
        targets=Targets(
            ttft_p99_s=None if targets.ttft_p99 is None else seconds(targets.ttft_p99),
            itl_p99_s=None if targets.itl_p99 is None else seconds(targets.itl_p99),
        ),
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        gpus_each=_gpus(resource),
        strategy=Strategy(spec.rollout.strategy),
        capacity=Capacity(spec.rollout.capacity),
        weights=tuple(step.weight for step in spec.rollout.steps),
    )


def _numbers(engine: EngineSettings) -> EngineNumbers:
    asked = engine.kv_cache_memory
    return EngineNumbers(
        dtype=engine.dtype,
        block_size=engine.block_size,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        max_model_len=engine.max_model_len,
        kv_cache_bytes=None if asked is None else memory_bytes(asked),
        gpu_memory_fraction=engine.gpu_memory_fraction,
    )


def _gpus(resource: ModelDeployment) -> int:
    asked = resource.spec.pod.resources
    text = asked.limits.get(_GPU_RESOURCE) or asked.requests.get(_GPU_RESOURCE) or "1"
    return max(1, math.ceil(float(text))) if text.replace(".", "", 1).isdigit() else 1

import pytest

from operator_resources import resource
from pagelet_operator.api.resource import parse
from pagelet_operator.core.model import Capacity, Strategy
from pagelet_operator.core.planner.memory import EngineNumbers
from pagelet_operator.planner.resource import planned_resource


def planned(**spec):
    return planned_resource(parse(resource(**spec)))


def test_a_minimal_resource_leaves_everything_to_the_engine():
    found = planned()
    assert found.engine == EngineNumbers()
    assert (found.min_replicas, found.max_replicas, found.gpus_each) == (1, None, 1)
    assert (found.strategy, found.capacity) == (Strategy.CANARY, Capacity.AUTO)
    assert list(found.weights) == sorted(found.weights)
    assert (found.caps.max_prompt_tokens, found.targets.ttft_p99_s) == (None, None)


def test_what_a_resource_says_is_planned_with():
    found = planned(
        engine={
            "dtype": "float32", "blockSize": 32, "maxNumSeqs": 8, "maxNumBatchedTokens": 256,
            "maxModelLen": 512, "kvCacheMemory": "1Gi", "gpuMemoryFraction": 0.5,
        },
        limits={"maxPromptTokens": 100, "maxOutputTokens": 50},
        scaling={
            "minReplicas": 2, "maxReplicas": 9, "targets": {"ttftP99": "1s", "itlP99": "50ms"}
        },
        rollout={"capacity": "Borrow", "steps": [{"weight": 7}, {"weight": 70}]},
    )  # fmt: skip
    assert found.engine == EngineNumbers(
        dtype="float32", block_size=32, max_num_seqs=8, max_num_batched_tokens=256,
        max_model_len=512, kv_cache_bytes=2**30, gpu_memory_fraction=0.5,
    )  # fmt: skip
    assert (found.caps.max_prompt_tokens, found.caps.max_output_tokens) == (100, 50)
    assert (found.targets.ttft_p99_s, found.targets.itl_p99_s) == (1.0, 0.05)
    assert (found.min_replicas, found.max_replicas) == (2, 9)
    assert (found.strategy, found.capacity) == (Strategy.CANARY, Capacity.BORROW)
    assert found.weights == (7, 70)
    blue_green = planned(rollout={"strategy": "BlueGreen"})
    assert blue_green.strategy is Strategy.BLUE_GREEN


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ({"limits": {"nvidia.com/gpu": 2}}, 2),
        ({"requests": {"nvidia.com/gpu": "4"}}, 4),
        ({"limits": {"cpu": "4"}}, 1),
        ({"limits": {"nvidia.com/gpu": 0}}, 1),
        ({"limits": {"nvidia.com/gpu": "1k"}}, 1),
    ],
)
def test_gpus_are_those_a_pod_asks_for(resources, gpus):
    assert planned(pod={"resources": resources}).gpus_each == gpus

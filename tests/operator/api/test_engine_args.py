"""What `pagelet serve` is told about one revision."""

from pagelet_operator.api.engine import EngineSettings
from pagelet_operator.api.engine_args import engine_args
from pagelet_operator.api.spec import ModelDeploymentSpec


def spec(**engine: object) -> ModelDeploymentSpec:
    return ModelDeploymentSpec.model_validate(
        {"model": {"source": "hf://org/repo"}, "engine": engine}
    )


def test_a_minimal_spec_says_only_source_and_name():
    assert engine_args(spec(), "chat") == ["hf://org/repo", "--served-model-name=chat"]


def test_the_model_name_wins_over_the_resource_name_and_a_commit_is_pinned():
    named = ModelDeploymentSpec.model_validate(
        {"model": {"source": "hf://org/repo", "name": "org/repo", "revision": "abc"}}
    )
    assert engine_args(named, "chat") == [
        "hf://org/repo",
        "--served-model-name=org/repo",
        "--revision=abc",
    ]


def test_every_engine_setting_but_the_image_becomes_a_flag():
    changed = {
        "image": "example.org/engine:1",
        "dtype": "bfloat16",
        "device": "cuda",
        "maxModelLen": 4096,
        "blockSize": 32,
        "maxNumSeqs": 8,
        "maxNumBatchedTokens": 1024,
        "kvCacheMemory": "2Gi",
        "gpuMemoryFraction": 0.5,
        "targetItl": "80ms",
    }
    assert changed.keys() == {field.alias for field in EngineSettings.model_fields.values()}
    assert engine_args(spec(**changed), "chat")[2:] == [
        "--dtype=bfloat16",
        "--device=cuda",
        "--max-model-len=4096",
        "--block-size=32",
        "--max-num-seqs=8",
        "--max-num-batched-tokens=1024",
        "--kv-cache-memory=2147483648",
        "--gpu-memory-fraction=0.5",
        "--target-itl-ms=80",
    ]


def test_a_setting_equal_to_its_default_says_nothing_as_in_the_revision_hash():
    assert engine_args(spec(dtype="auto", maxNumSeqs=64), "chat") == engine_args(spec(), "chat")

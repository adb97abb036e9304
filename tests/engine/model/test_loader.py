"""Every tensor of a file is accounted for; a damaged file is a sentence, not a traceback."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine_checkpoints import (
    gguf_name,
    small_config,
    weights_for,
    write_folder,
    write_gguf,
)
from engine_reference import Tensors
from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.loader import open_checkpoint

CONFIG = small_config(num_layers=2, hidden_size=64, intermediate_size=96)
NAME = "model.layers.1.mlp.up_proj.weight"
CPU = torch.device("cpu")


@pytest.fixture(params=["safetensors", "sharded safetensors", "gguf"])
def write(request: pytest.FixtureRequest, tmp_path: Path):
    """Write tensors in one of the formats; return the path and the format's name for NAME."""

    def write_tensors(tensors: Tensors) -> tuple[Path, str]:
        if request.param == "gguf":
            return write_gguf(tmp_path / "m.gguf", CONFIG, tensors), gguf_name(NAME)
        shards = 3 if "sharded" in request.param else 1
        return write_folder(tmp_path / "hf", CONFIG, tensors, shards=shards), NAME

    return write_tensors


def test_a_complete_checkpoint_loads(write):
    path, _ = write(weights_for(CONFIG))
    model = open_checkpoint(str(path)).load(torch.float32, CPU)
    assert model.num_bytes > 4 * CONFIG.vocab_size * CONFIG.hidden_size


def test_a_missing_tensor_is_named(write):
    tensors = weights_for(CONFIG)
    del tensors[NAME]
    path, _ = write(tensors)
    with pytest.raises(ModelLoadError, match=NAME):
        open_checkpoint(str(path))


def test_an_unknown_tensor_is_named(write):
    tensors = weights_for(CONFIG)
    tensors["model.layers.0.mlp.extra.weight"] = np.zeros((4, 4), np.float32)
    path, _ = write(tensors)
    with pytest.raises(ModelLoadError, match=r"extra\.weight.*unknown"):
        open_checkpoint(str(path))


def test_a_tensor_of_another_shape_is_named_with_both_shapes(write):
    tensors = weights_for(CONFIG)
    tensors[NAME] = np.zeros((96, 32), np.float32)
    path, _ = write(tensors)
    with pytest.raises(ModelLoadError, match=rf"{NAME}.*\[96, 32\].*\[96, 64\]"):
        open_checkpoint(str(path))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_tensor_that_holds_no_finite_numbers_is_named(write, value: float):
    tensors = weights_for(CONFIG)
    tensors[NAME][3, 5] = value
    path, _ = write(tensors)
    with pytest.raises(ModelLoadError, match=f"{NAME}.*no finite numbers"):
        open_checkpoint(str(path)).load(torch.float32, CPU)


def test_a_claim_of_countless_layers_is_refused_before_they_are_counted(tmp_path: Path):
    folder = write_folder(tmp_path, CONFIG, weights_for(CONFIG))
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"num_hidden_layers": 2**32 - 1}))
    with pytest.raises(ModelLoadError, match="claims 4294967295 layers, but holds"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("share", [0.999, 0.7, 0.3, 0.01, 0.0])
def test_a_file_cut_short_is_refused(tmp_path: Path, share: float):
    folder = write_folder(tmp_path / "hf", CONFIG, weights_for(CONFIG))
    file = write_gguf(tmp_path / "m.gguf", CONFIG, weights_for(CONFIG))
    for path, source in ((folder / "model.safetensors", folder), (file, file)):
        raw = path.read_bytes()
        path.write_bytes(raw[: int(len(raw) * share)])
        with pytest.raises(ModelLoadError, match=str(path.name)):
            open_checkpoint(str(source))


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0", "F16", "BF16"])
def test_quantised_weights_come_back_close(tmp_path: Path, kind: str):
    tensors = weights_for(CONFIG)
    path = write_gguf(tmp_path / "m.gguf", CONFIG, tensors, kind=kind)
    read = open_checkpoint(str(path)).weights.read(NAME, torch.float32, CPU).numpy()
    tolerance = {"Q4_0": 0.15, "Q4_1": 0.1, "Q8_0": 0.01}.get(kind, 0.005)
    assert np.abs(read - tensors[NAME]).max() < tolerance * np.abs(tensors[NAME]).max()


def test_a_tied_matrix_that_is_stored_twice_is_used_as_stored(tmp_path: Path):
    config = small_config(tie_word_embeddings=True)
    tensors = weights_for(config)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    checkpoint = open_checkpoint(str(write_folder(tmp_path, config, tensors)))
    assert not checkpoint.config.tie_word_embeddings


def test_derived_buffers_of_old_exporters_are_passed_over(tmp_path: Path):
    tensors = weights_for(CONFIG)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(8, np.float32)
    assert open_checkpoint(str(write_folder(tmp_path, CONFIG, tensors)))


@pytest.mark.parametrize(
    "index",
    ["{", "[]", '{"weight_map": {"a": "missing.safetensors"}}', '{"weight_map": {"a": "../x"}}'],
)
def test_a_wrong_index_is_refused(tmp_path: Path, index: str):
    folder = write_folder(tmp_path, CONFIG, weights_for(CONFIG))
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelLoadError, match="index"):
        open_checkpoint(str(folder))


def test_a_folder_without_weights_is_refused(tmp_path: Path):
    folder = write_folder(tmp_path, CONFIG, weights_for(CONFIG))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"no \*\.safetensors"):
        open_checkpoint(str(folder))


def test_integer_weights_are_refused_by_name(tmp_path: Path):
    tensors = weights_for(CONFIG)
    tensors[NAME] = np.zeros((96, 64), np.int8)
    checkpoint = open_checkpoint(str(write_folder(tmp_path, CONFIG, tensors)))
    with pytest.raises(ModelLoadError, match=NAME):
        checkpoint.load(torch.float32, CPU)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"num_attention_heads": None}, "wrong value"),
        ({"num_key_value_heads": 4}, "multiple"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
        ({"eos_token_id": 9999}, "9999"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"rope_theta": float("nan")}, "rope_theta is nan"),
        ({"rms_norm_eps": 0.0}, "rms_norm_eps"),
    ],
)
def test_a_configuration_nobody_can_run_is_refused(
    tmp_path: Path, change: dict[str, object], says: str
):
    folder = write_folder(tmp_path, CONFIG, weights_for(CONFIG))
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | change))
    with pytest.raises(ModelLoadError, match=says):
        open_checkpoint(str(folder))


def test_the_generation_config_decides_what_ends_a_sequence(tmp_path: Path):
    folder = write_folder(tmp_path, CONFIG, weights_for(CONFIG))
    (folder / "generation_config.json").write_text('{"eos_token_id": [3, 4]}')
    assert open_checkpoint(str(folder)).config.eos_token_ids == (3, 4)


def test_an_unknown_dummy_lists_the_known_ones():
    with pytest.raises(ModelLoadError, match="tiny"):
        open_checkpoint("dummy://nope")


def test_dummy_weights_are_the_same_every_time():
    name = "model.embed_tokens.weight"
    first, second = (
        open_checkpoint("dummy://tiny").weights.read(name, torch.float32, CPU) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert first.std() > 0

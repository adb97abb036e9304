"""The head of a GGUF file: read as the public reader reads it, refused when damaged."""

from pathlib import Path

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_checkpoints import small_config, weights_for, write_gguf
from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.gguf_metadata import read_gguf_header


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = small_config(num_layers=1, tie_word_embeddings=True)
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    return write_gguf(path, config, weights_for(config))


def test_fields_and_tensors_are_those_of_the_public_reader(file: Path):
    header, reader = read_gguf_header(file), gguf.GGUFReader(file)
    public = {key: f.contents() for key, f in reader.fields.items() if not key.startswith("GGUF.")}
    assert header.fields == public
    assert [(t.name, t.shape, t.ggml_type, t.offset) for t in header.tensors] == [
        (t.name, tuple(t.shape[::-1]), t.tensor_type, t.data_offset) for t in reader.tensors
    ]


def test_every_type_of_field_is_read(tmp_path: Path):
    path = tmp_path / "types.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    values: dict[str, object] = {
        "bool": True, "uint8": 255, "int8": -128, "uint16": 65535, "int16": -32768,
        "uint32": 2**32 - 1, "int32": -(2**31), "uint64": 2**64 - 1, "int64": -(2**63),
        "float32": 0.5, "float64": 1e300, "string": "größe 🙂",
    }  # fmt: skip
    for name, value in values.items():
        getattr(writer, f"add_{name}")(name, value)
    writer.add_array("list", ["a", "", "ü"])
    writer.add_array("numbers", [1, 2, 3])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_gguf_header(path)
    assert {name: header.fields[name] for name in values} == values
    assert header.strings("list") == ["a", "", "ü"]
    assert header.integers("numbers") == [1, 2, 3]


def test_a_field_of_another_type_is_refused_by_name(file: Path):
    header = read_gguf_header(file)
    assert header.integer("llama.block_count") == 1
    assert header.integer("absent", 5) == 5
    for read in (header.integer, header.number, header.string, header.strings, header.integers):
        with pytest.raises(ModelLoadError, match="absent"):
            read("absent")
    with pytest.raises(ModelLoadError, match=r"general\.architecture"):
        header.integer("general.architecture")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_file_cut_short_or_damaged_never_ends_in_a_traceback(
    file: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    raw = bytearray(file.read_bytes()[:4000])
    head_end = 3000
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, head_end))]
    for _ in range(data.draw(st.integers(0, 3))):
        if raw:
            position = data.draw(st.integers(0, min(len(raw), head_end) - 1))
            raw[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(raw)
    try:
        header = read_gguf_header(path)
    except ModelLoadError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is fine, a traceback is not
    else:
        assert len(header.tensors) <= 20


@pytest.mark.parametrize("content", [b"", b"GGU", b"PK\x03\x04 something else"])
def test_what_is_not_gguf_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelLoadError, match="GGUF"):
        read_gguf_header(path)

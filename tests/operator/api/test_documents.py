import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from operator_resources import MINIMAL, named
from pagelet_operator.api.documents import load, load_all, load_secrets
from pagelet_operator.api.resource import InvalidResourceError


def write(path, *documents):
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_several_documents_in_one_file_are_several_resources(tmp_path):
    path = write(tmp_path / "models.yaml", MINIMAL, None, named("other"))
    assert [item.metadata.name for item in load(path)] == ["chat", "other"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "line 1"),
        ("a: 1\na: 2\n", "'a' stands twice"),
        ("spec: {model: {source: dummy://a, source: dummy://b}}", "'source' stands twice"),
        ("", "holds no ModelDeployment"),
        ("---\n---\n", "holds no ModelDeployment"),
        ("- a\n- b\n", "expected a ModelDeployment"),
        ("just text", "expected a ModelDeployment"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("\ttab: 1", "line 1"),
        ("maxModelLen: {{ max_len }}", "a key must be a word"),
        ("? [a, b]\n: c\n", "a key must be a word"),
        ("? {a: b}\n: c\n", "a key must be a word"),
        ("date: 2024-99-99", "cannot be read as its type"),
        ("x: !!int foo", "cannot be read as its type"),
        ("x: !!float foo", "cannot be read as its type"),
        ("x: !!bool foo", "cannot be read as its type"),
        ("x: !!timestamp foo", "cannot be read as its type"),
        (f"x: {'9' * 5000}", "cannot be read as its type"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_a_file_that_holds_no_resource_is_refused_with_the_place(tmp_path, text, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InvalidResourceError, match=said) as refusal:
        load(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


yaml_like = st.text(
    st.sampled_from(list("ab: \n-[]{}?!&*'\"#|>%@,0159.=~<\t\\")) | st.characters(), max_size=60
)


@given(yaml_like)
@settings(max_examples=300, deadline=None)
def test_no_text_whatever_does_more_than_be_refused(tmp_path_factory, text):
    """A half-typed edit must never end the supervisor that reads it."""
    path = tmp_path_factory.mktemp("fuzz") / "f.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InvalidResourceError) as refusal:
        load(path)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(InvalidResourceError, match="cannot be read"):
            load(path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00GGUF")
    with pytest.raises(InvalidResourceError, match="UTF-8"):
        load(path)


def test_the_sentence_says_which_document(tmp_path):
    bad = {**MINIMAL, "spec": {"model": {"source": "x"}}}
    with pytest.raises(InvalidResourceError, match=r"document 2: spec\.model\.source"):
        load(write(tmp_path / "two.yaml", MINIMAL, bad))


def test_two_resources_of_one_name_are_refused(tmp_path):
    one = write(tmp_path / "one.yaml", MINIMAL)
    two = write(tmp_path / "two.yaml", MINIMAL)
    with pytest.raises(InvalidResourceError, match="'default/chat' is used twice"):
        load_all([one, two])


def test_two_resources_that_serve_one_model_name_are_refused(tmp_path):
    other = named("other")
    other["spec"] = {"model": {"source": "dummy://tiny", "name": "chat"}}
    with pytest.raises(InvalidResourceError, match="model name 'chat' is used twice"):
        load_all([write(tmp_path / "a.yaml", MINIMAL, other)])


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys"},
    "stringData": {"team": "hunter2"},
}


def test_secrets_may_stand_beside_models_or_in_a_file_of_their_own(tmp_path):
    models = write(tmp_path / "models.yaml", MINIMAL, SECRET)
    other = {**SECRET, "metadata": {"name": "other"}}
    secrets = write(tmp_path / "secrets.yaml", other)
    assert [item.metadata.name for item in load_all([models, secrets])] == ["chat"]
    assert set(load_secrets([models, secrets])) == {("default", "keys"), ("default", "other")}
    with pytest.raises(InvalidResourceError, match="no ModelDeployment, only Secrets"):
        load_all([secrets])


def test_a_secret_that_is_none_or_stands_twice_is_refused_and_not_shown(tmp_path):
    twice = write(tmp_path / "twice.yaml", SECRET, SECRET)
    with pytest.raises(InvalidResourceError, match="default/keys stands twice"):
        load_secrets([twice])
    bad = write(tmp_path / "bad.yaml", MINIMAL, {**SECRET, "data": {"team": "hunter2!"}})
    with pytest.raises(InvalidResourceError, match="document 2: data: 'team'") as refusal:
        load_secrets([bad])
    assert "hunter2" not in str(refusal.value)

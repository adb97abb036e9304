"""Secret documents: both ways to write one, and refusals that show nothing of it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.api.secrets import InvalidSecretError, is_secret, parse_secret


def secret(**parts: object) -> dict:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, **parts}


@given(st.dictionaries(st.text("abc", min_size=1), st.binary(max_size=20)))
def test_data_is_base64_and_string_data_wins_over_it(content):
    encoded = {key: base64.b64encode(value).decode() for key, value in content.items()}
    document = secret(data=encoded, stringData={"a": "plain"}, type="Opaque", immutable=True)
    assert is_secret(document)
    assert parse_secret(document) == (("default", "keys"), {**content, "a": b"plain"})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (secret(data={"a": "hunter2!"}), "data: 'a' is not base64"),
        (secret(data={"a": 5}), "data.a"),
        (secret(metadata={"name": "../x"}), "metadata.name"),
        (secret(stringData={"a": ["hunter2!"]}), "stringData.a"),
        ({**secret(), "apiVersion": "v2"}, "apiVersion"),
    ],
)
def test_what_is_no_secret_is_refused_without_showing_it(document, said):
    with pytest.raises(InvalidSecretError, match=said) as refusal:
        parse_secret(document)
    assert "hunter2" not in str(refusal.value)

"""What Secrets hold: hashes of tenants' keys, and what is known for certain when they do not."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.key_material import KeyRef, Material, Purpose, SecretRef, read

TENANT = KeyRef(SecretRef("ns", "keys"), "team", Purpose.TENANT)
SHOWN = KeyRef(SecretRef("ns", "keys"), "key", Purpose.SHOWN)
plain = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@given(st.lists(plain, min_size=1), st.sampled_from(["\n", "\r\n", "\n\n", " \n\t"]))
def test_a_tenants_keys_stand_one_per_line_and_only_hashes_remain(keys, between):
    found = read(TENANT, {"team": between.join(keys).encode()}, None)
    assert found == Material(hashes=frozenset(map(digest, keys)))


@given(plain)
def test_a_key_that_is_shown_is_one_line_and_in_no_representation(key):
    found = read(SHOWN, {"key": f"{key}\n".encode()}, None)
    assert found.text == key
    assert repr(Material(text="x")) == repr(Material(text=key))


@pytest.mark.parametrize("content", [b"two\nlines", "schlüssel".encode(), b"a\x00b"])
def test_what_cannot_stand_in_a_header_is_no_key_to_show(content):
    found = read(SHOWN, {"key": content}, Material(text="old"))
    assert (found.text, found.trouble) == (None, "Secret 'keys': 'key' is not one line of ASCII")


def test_a_secret_that_is_gone_keeps_what_it_held():
    known = read(TENANT, {"team": b"a"}, None)
    gone = read(TENANT, None, known)
    assert gone.hashes == known.hashes
    assert gone.trouble == "Secret 'keys' does not exist; what it held last still counts"
    assert read(TENANT, None, gone) == gone
    assert read(TENANT, {"team": b"b"}, gone) == Material(hashes=frozenset({digest("b")}))
    assert read(TENANT, None, None).trouble == "Secret 'keys' does not exist"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, "Secret 'keys' has no key 'team'"),
        ({"team": b" \n \n"}, "Secret 'keys': 'team' is empty"),
        ({"team": b"\xff"}, "Secret 'keys': 'team' is not UTF-8 text"),
    ],
)
def test_a_change_of_the_secret_takes_keys_away_at_once(data, sentence):
    found = read(TENANT, data, Material(hashes=frozenset({digest("old")})))
    assert found == Material(trouble=sentence)

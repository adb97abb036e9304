"""Vocabulary spellings and the bytes behind them."""

import pytest

from pagelet_engine.text.token_bytes import (
    BYTE_CHARS,
    byte_fallback_bytes,
    byte_level_bytes,
    byte_level_except,
)


def test_every_byte_has_a_character_of_its_own_that_is_no_space():
    assert sorted(BYTE_CHARS) == list(range(256))
    assert len(set(BYTE_CHARS.values())) == 256
    assert not any(char.isspace() for char in BYTE_CHARS.values())


def test_the_table_is_gpt2s_at_its_known_points():
    # G with dot for a space and C with dot for a newline are what GPT-2 vocabularies show.
    assert (BYTE_CHARS[0x20], BYTE_CHARS[0x0A], BYTE_CHARS[0x41]) == ("Ġ", "Ċ", "A")


@pytest.mark.parametrize("data", [bytes(range(256)), "héllo 👋".encode(), b""])
def test_byte_level_tokens_give_their_bytes(data):
    assert byte_level_bytes("".join(BYTE_CHARS[byte] for byte in data)) == data


def test_a_token_that_is_not_byte_level_is_taken_as_text():
    assert byte_level_bytes("日本") == "日本".encode()


def test_plain_tokens_are_written_as_they_are():
    # "é" is the byte E9 in a byte-level vocabulary, but two bytes as text.
    assert byte_level_except(frozenset({"é"}))("é") == "é".encode()
    assert byte_level_except(frozenset())("é") == b"\xe9"


def test_sentencepiece_tokens_give_spaces_and_bytes():
    assert byte_fallback_bytes("▁the") == b" the"
    assert byte_fallback_bytes("<0x0A>") == b"\n"
    assert byte_fallback_bytes("<0xZZ>") == b"<0xZZ>"

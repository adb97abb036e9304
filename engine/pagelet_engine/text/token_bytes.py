"""From a token as a vocabulary spells it to the bytes it stands for.

Byte-level vocabularies write each byte as one printable character (GPT-2's table); SentencePiece
ones write a space as U+2581 and odd bytes as `<0x0A>`.
"""

import re
from collections.abc import Callable

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")


def _byte_chars() -> dict[int, str]:
    # Printable Latin-1 stands for itself; the other 68 bytes take the code points from 256 on.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + index) for index, byte in enumerate(others)
    }


BYTE_CHARS = _byte_chars()
"""Which character stands for each byte in a byte-level vocabulary.

Source: Radford et al. 2019, GPT-2's released code, `bytes_to_unicode`."""

_CHAR_BYTES = {char: byte for byte, char in BYTE_CHARS.items()}


def byte_level_bytes(token: str) -> bytes:
    """Return the bytes of a byte-level token; a token in plain text gives its UTF-8."""
    try:
        return bytes(_CHAR_BYTES[char] for char in token)
    except KeyError:
        return token.encode("utf-8", errors="replace")


def byte_level_except(plain: frozenset[str]) -> Callable[[str], bytes]:
    """Return `byte_level_bytes`, but for the tokens in `plain`, which are written as text."""

    def token_bytes(token: str) -> bytes:
        return token.encode() if token in plain else byte_level_bytes(token)

    return token_bytes


def byte_fallback_bytes(token: str) -> bytes:
    """Return the bytes of a SentencePiece token."""
    byte = _BYTE_TOKEN.match(token)
    if byte:
        return bytes([int(byte[1], 16)])
    return token.replace("\u2581", " ").encode("utf-8", errors="replace")

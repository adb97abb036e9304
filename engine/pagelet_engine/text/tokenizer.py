"""Turns text into token ids and back, and keeps what a user typed apart from control tokens.

A control token (`<|im_start|>`) steers the model. The chat template may write one, a user's text
may not: before rendering, `shield` swaps the first character of every control token's text found
in user text for a stand-in, a lone surrogate, which no valid JSON or UTF-8 can contain. What then
still reads as a control token was written by the template. `encode` makes ids of those and puts
the shielded characters back, so user text is tokenized as the plain text it is.

Decoding is by bytes: a token stands for some bytes, whatever its neighbours, and text is those
bytes as UTF-8. So decoding piece by piece can be exact.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from tokenizers import Tokenizer as Backend

from pagelet_engine.errors import ModelLoadError

_FIRST_STAND_IN = 0xDC00
_MAX_STAND_INS = 1024


class Tokenizer:
    """One model's tokenizer. Its methods may be called from any thread."""

    def __init__(
        self,
        backend: Backend,
        *,
        control_tokens: Mapping[str, int],
        token_bytes: Callable[[str], bytes],
        prefix_token_ids: Iterable[int] = (),
        strip_first_space: bool = False,
        escape: Callable[[str], str] | None = None,
    ) -> None:
        """Wrap `backend`.

        Args:
            backend: Splits plain text; must not turn control tokens' text into their ids.
            control_tokens: Text of each control token, and its id.
            token_bytes: From a token as the vocabulary spells it to the bytes it stands for.
            prefix_token_ids: Ids before every raw prompt (beginning-of-sequence, if the model
                wants one). Chat templates write it themselves.
            strip_first_space: Whether the vocabulary marks a text's start with a space.
            escape: From text as users write it to text as the vocabulary spells it, where the
                backend does not do so itself; None changes nothing.

        Raises:
            ModelLoadError: The control tokens cannot be told apart from text.
        """
        if "" in control_tokens:
            raise ModelLoadError("The vocabulary has a control token without text.")
        self._backend = backend
        self._control_tokens = dict(control_tokens)
        self._control_texts = {token_id: text for text, token_id in control_tokens.items()}
        self._token_bytes = token_bytes
        self._bytes_of_id: dict[int, bytes] = {}
        self._strip_first_space = strip_first_space
        self._escape = escape
        self.prefix_token_ids = tuple(prefix_token_ids)
        """Ids that start every raw prompt."""
        self.max_token_chars = max(map(len, backend.get_vocab()), default=1)
        """Most characters one token can stand for; bounds a text's token count from below."""
        # Longest first: where one control token's text starts another's, the longer one is meant.
        markers = sorted(self._control_tokens, key=len, reverse=True)
        self._marker = re.compile("|".join(map(re.escape, markers)) or r"(?!)")
        self._shielded = re.compile(_shield_pattern(markers), re.DOTALL)
        self._stand_ins, self._originals = _stand_ins(markers)

    def shield(self, text: str) -> str:
        """Return user text in which nothing reads as a control token, for use in a template.

        A last stretch that only begins a control token is shielded too, so that the template's
        next characters cannot complete it.
        """
        return self._shielded.sub(lambda match: self._stand_ins[match[0]], text)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; control tokens' text, unless shielded, becomes their ids."""
        token_ids: list[int] = []
        start = 0
        for match in self._marker.finditer(text):
            token_ids += self._encode_plain(text[start : match.start()])
            token_ids.append(self._control_tokens[match[0]])
            start = match.end()
        return token_ids + self._encode_plain(text[start:])

    def encode_prompt(self, text: str) -> list[int]:
        """Return the ids of a raw prompt: `prefix_token_ids`, then `encode(text)`."""
        return [*self.prefix_token_ids, *self.encode(text)]

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes one generated token adds; none for control and unknown tokens."""
        known = self._bytes_of_id.get(token_id)
        if known is None:
            known = self._bytes_of_id[token_id] = self._look_up(token_id)
        return known

    def control_id(self, text: str) -> int | None:
        """Return the id of the control token written `text`; None if there is none."""
        return self._control_tokens.get(text)

    def has_token(self, text: str) -> bool:
        """Return whether one token is written `text`."""
        return text in self._control_tokens or self._backend.token_to_id(text) is not None

    def spelling(self, token_id: int) -> bytes:
        """Return the bytes one token is written as: like `token_bytes`, but for control tokens."""
        control = self._control_texts.get(token_id)
        return self.token_bytes(token_id) if control is None else control.encode()

    def decode(self, token_ids: Iterable[int], *, keep_control: bool = False) -> str:
        """Return the text of `token_ids`; bytes that are no UTF-8 become U+FFFD.

        Args:
            token_ids: Any ids; those outside the vocabulary add nothing.
            keep_control: Write control tokens as their text instead of leaving them out.
        """
        parts = [
            self._control_texts[token_id].encode()
            if keep_control and token_id in self._control_texts
            else self.token_bytes(token_id)
            for token_id in token_ids
        ]
        data = b"".join(parts)
        if self._strip_first_space and data.startswith(b" "):
            data = data[1:]
        return data.decode("utf-8", errors="replace")

    def _encode_plain(self, text: str) -> list[int]:
        if not text:
            return []
        plain = text.translate(self._originals)
        if self._escape is not None:
            plain = self._escape(plain)
        # PERF: encode_batch_fast lets other threads run meanwhile and computes no offsets.
        return list(self._backend.encode_batch_fast([plain], add_special_tokens=False)[0].ids)

    def _look_up(self, token_id: int) -> bytes:
        if token_id in self._control_texts or not 0 <= token_id < 2**32:
            return b""
        token = self._backend.id_to_token(token_id)
        return b"" if token is None else self._token_bytes(token)


def _shield_pattern(markers: list[str]) -> str:
    """Match the first character of a marker, or of a marker's beginning at the text's end."""
    rests: dict[str, set[str]] = {}
    for marker in markers:
        whole = {re.escape(marker[1:])}
        cut = {rf"{re.escape(marker[1:length])}\Z" for length in range(1, len(marker))}
        rests.setdefault(marker[0], set()).update(whole | cut)
    # PERF: a plain first character, then a lookahead: 30x less on text without any marker.
    alternatives = (
        rf"{re.escape(first)}(?={'|'.join(sorted(rest))})" for first, rest in sorted(rests.items())
    )
    return "|".join(alternatives) or r"(?!)"


def _stand_ins(markers: list[str]) -> tuple[dict[str, str], dict[int, str]]:
    firsts = sorted({marker[0] for marker in markers})
    if len(firsts) > _MAX_STAND_INS:
        raise ModelLoadError(
            f"The control tokens start with {len(firsts)} different characters; "
            f"at most {_MAX_STAND_INS} can be told apart from text."
        )
    stand_ins = {char: chr(_FIRST_STAND_IN + index) for index, char in enumerate(firsts)}
    return stand_ins, {ord(stand_in): char for char, stand_in in stand_ins.items()}

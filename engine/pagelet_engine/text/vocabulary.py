"""Builds a model's tokenizer and finds its chat template, from GGUF fields or from JSON files.

GGUF names the way text is cut before merging (`tokenizer.ggml.pre`); only ways known here are
used, since a wrong one gives a model that answers, but worse.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.file_digest import digest_of
from pagelet_engine.model.gguf_metadata import GgufHeader, read_gguf_header
from pagelet_engine.model.source import is_dummy
from pagelet_engine.text.chat_template import ChatTemplate
from pagelet_engine.text.dialect import Dialect, dialect_of
from pagelet_engine.text.pieces import Kind, piece_tokenizer
from pagelet_engine.text.token_bytes import (
    BYTE_CHARS,
    byte_fallback_bytes,
    byte_level_bytes,
    byte_level_except,
)
from pagelet_engine.text.tokenizer import Tokenizer

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    "llama-bpe": rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}",
    "qwen2": rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}",
}
_GPT2_NAMES = ("default", "gpt-2")
PRE_TOKENIZERS = ("smollm", *_SPLITS, *_GPT2_NAMES)
"""The values of `tokenizer.ggml.pre` that are known."""

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class TextModel:
    """How one model reads and writes text."""

    tokenizer: Tokenizer
    chat_template: ChatTemplate | None
    """None: the model is not made for chat."""
    digest: str = ""
    """Tells its files, the weights among them, from other models' files."""
    dialect: Dialect = field(default_factory=Dialect)
    """How its output shows tool calls and thoughts."""


def load_text_model(source: str, path: Path | None, *, reasoning_parser: str = "auto") -> TextModel:
    """Load tokenizer and chat template.

    Args:
        source: The model as configured; `dummy://` sources get a byte-level tokenizer.
        path: Its .gguf file or folder; None for `dummy://`.
        reasoning_parser: One of `config.REASONING_PARSERS`.

    Raises:
        ModelLoadError: A file or field is missing, malformed, or of a kind not known here.
    """
    if is_dummy(source) or path is None:
        return _with_dialect(replace(byte_level_model(), digest=source), reasoning_parser)
    is_file = path.is_file()
    model = gguf_text_model(read_gguf_header(path)) if is_file else folder_text_model(path)
    try:
        return _with_dialect(replace(model, digest=digest_of(path)), reasoning_parser)
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error}.") from error


def _with_dialect(model: TextModel, reasoning_parser: str) -> TextModel:
    template, tokenizer = model.chat_template, model.tokenizer
    dialect = dialect_of(
        None if template is None else template.source,
        reads_tools=template is not None and template.reads_tools,
        control_id=tokenizer.control_id,
        has_token=tokenizer.has_token,
        reasoning_parser=reasoning_parser,
    )
    return replace(model, dialect=dialect)


def byte_level_model() -> TextModel:
    """Return a tokenizer of 256 byte tokens (id = byte value) with ChatML, for dummy weights.

    Ids from 258 on, which random weights produce, read as ` t<id>`, so streams carry text.
    """
    vocab = {char: byte for byte, char in BYTE_CHARS.items()}
    backend = Backend(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    control = {"<|im_start|>": 256, "<|im_end|>": 257}
    tokenizer = _DummyTokenizer(backend, control_tokens=control, token_bytes=byte_level_bytes)
    return TextModel(tokenizer, ChatTemplate(CHATML))


class _DummyTokenizer(Tokenizer):
    """Gives ids outside its vocabulary a text of their own."""

    def _look_up(self, token_id: int) -> bytes:
        return f" t{token_id}".encode() if token_id >= 258 else super()._look_up(token_id)


def gguf_text_model(header: GgufHeader) -> TextModel:
    """Build a tokenizer from `tokenizer.ggml.*` fields; raises like `load_text_model`."""
    model = header.string("tokenizer.ggml.model")
    if model not in ("gpt2", "llama"):
        raise ModelLoadError(
            f"{header.path}: tokenizer.ggml.model is {model!r}; known are 'gpt2' (byte-level BPE) "
            f"and 'llama' (SentencePiece). Use the model's folder with tokenizer.json instead."
        )
    tokens = header.strings("tokenizer.ggml.tokens")
    types = header.integers("tokenizer.ggml.token_type")
    if len(types) != len(tokens):
        raise ModelLoadError(
            f"{header.path}: {len(tokens)} tokens, but {len(types)} token types; "
            f"the file is damaged or was written by a faulty converter."
        )
    build = piece_tokenizer if model == "llama" else _byte_level_tokenizer
    return TextModel(build(header, tokens, types), _gguf_template(header, tokens))


def _byte_level_tokenizer(
    header: GgufHeader, tokens: Sequence[str], kinds: Sequence[int]
) -> Tokenizer:
    control = {t: i for i, t in enumerate(tokens) if kinds[i] == Kind.CONTROL}
    user_defined = [t for i, t in enumerate(tokens) if kinds[i] == Kind.USER_DEFINED]
    return Tokenizer(
        _gguf_backend(header, tokens, control, user_defined),
        control_tokens=control,
        token_bytes=byte_level_except(frozenset(user_defined)),
        prefix_token_ids=_gguf_prefix(header),
    )


def folder_text_model(folder: Path) -> TextModel:
    """Build a tokenizer from tokenizer.json (+ tokenizer_config.json); raises likewise."""
    path = folder / "tokenizer.json"
    raw = _read_json(path)
    try:
        backend = Backend.from_file(str(path))
    except Exception as error:
        raise ModelLoadError(f"{path} is not a usable tokenizer: {error}.") from error
    backend.encode_special_tokens = True  # as text, that is: ids of control tokens are ours to give
    added = [token for token in raw.get("added_tokens", []) if isinstance(token, dict)]
    plain = frozenset(str(token["content"]) for token in added if not token.get("special"))
    decoder_types = _decoder_types(raw.get("decoder"))
    if "ByteLevel" in decoder_types:
        token_bytes, strip = byte_level_except(plain), False
    elif "ByteFallback" in decoder_types:
        token_bytes, strip = byte_fallback_bytes, True
    else:
        raise ModelLoadError(
            f"{path}: decoder {sorted(decoder_types)} is not known; "
            f"known are ByteLevel and ByteFallback."
        )
    control = {str(token["content"]): int(token["id"]) for token in added if token.get("special")}
    tokenizer = Tokenizer(
        backend,
        control_tokens=control,
        token_bytes=token_bytes,
        prefix_token_ids=backend.encode("", add_special_tokens=True).ids,
        strip_first_space=strip,
    )
    return TextModel(tokenizer, _folder_template(folder))


def _gguf_backend(
    header: GgufHeader, tokens: Sequence[str], control: dict[str, int], user_defined: list[str]
) -> Backend:
    pre = header.string("tokenizer.ggml.pre", "default")
    if pre not in PRE_TOKENIZERS:
        raise ModelLoadError(
            f"{header.path}: tokenizer.ggml.pre is {pre!r}; known are {', '.join(PRE_TOKENIZERS)}. "
            f"Use the model's folder with tokenizer.json instead."
        )
    # Without control tokens, so that no text can ever merge into one.
    vocab = {text: index for index, text in enumerate(tokens) if text not in control}
    merges = [_merge(header, line) for line in header.strings("tokenizer.ggml.merges")]
    try:
        model = models.BPE(vocab=vocab, merges=merges, ignore_merges=pre == "llama-bpe")
    except Exception as error:
        raise ModelLoadError(f"{header.path}: vocabulary and merges disagree: {error}.") from error
    backend = Backend(model)
    backend.pre_tokenizer = _pre_tokenizer(pre)
    backend.decoder = decoders.ByteLevel()
    if pre == "qwen2":
        backend.normalizer = normalizers.NFC()
    backend.add_tokens([AddedToken(text, normalized=False, special=False) for text in user_defined])
    return backend


def _merge(header: GgufHeader, line: str) -> tuple[str, str]:
    left, separator, right = line.partition(" ")
    if not separator:
        raise ModelLoadError(f"{header.path}: merge {line!r} is not two tokens.")
    return left, right


def _pre_tokenizer(pre: str) -> pre_tokenizers.PreTokenizer:
    if pre in _SPLITS:
        split = pre_tokenizers.Split(Regex(_SPLITS[pre]), behavior="isolated")
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([split, to_bytes])
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    return gpt2


def _gguf_prefix(header: GgufHeader) -> tuple[int, ...]:
    if header.fields.get("tokenizer.ggml.add_bos_token") is not True:
        return ()
    return (header.integer("tokenizer.ggml.bos_token_id"),)


def _gguf_template(header: GgufHeader, tokens: list[str]) -> ChatTemplate | None:
    source = header.fields.get("tokenizer.chat_template")
    if not isinstance(source, str):
        return None

    def text_of(key: str) -> str:
        index = header.fields.get(key)
        known = isinstance(index, int) and 0 <= index < len(tokens)
        return tokens[int(str(index))] if known else ""

    return ChatTemplate(
        source,
        bos_token=text_of("tokenizer.ggml.bos_token_id"),
        eos_token=text_of("tokenizer.ggml.eos_token_id"),
    )


def _folder_template(folder: Path) -> ChatTemplate | None:
    path = folder / "tokenizer_config.json"
    config = _read_json(path) if path.is_file() else {}
    source = config.get("chat_template")
    separate = folder / "chat_template.jinja"
    if separate.is_file():
        source = separate.read_text(encoding="utf-8")
    if isinstance(source, list):  # several, by name; the one for chat is called default
        named = {item.get("name"): item.get("template") for item in source}
        source = named.get("default")
    if not isinstance(source, str):
        return None
    return ChatTemplate(
        source,
        bos_token=_token_text(config.get("bos_token")),
        eos_token=_token_text(config.get("eos_token")),
    )


def _token_text(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _decoder_types(decoder: object) -> set[str]:
    if not isinstance(decoder, dict):
        return set()
    inner = decoder.get("decoders", [])
    return {str(decoder.get("type"))}.union(*(_decoder_types(item) for item in inner))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelLoadError(f"{path} is missing; the model cannot read text without it.") from None
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(raw, dict):
        raise ModelLoadError(f"{path} must hold a JSON object.")
    return raw

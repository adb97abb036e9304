"""SentencePiece vocabularies from GGUF fields: the ids sentencepiece itself gives, and its text."""

import io
from itertools import pairwise
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.gguf_metadata import GgufHeader
from pagelet_engine.server.echo import echo_of
from pagelet_engine.text.pieces import SPACE, Kind, merges_of
from pagelet_engine.text.vocabulary import gguf_text_model

CORPUS = [
    "the keeper of the lighthouse keeps the light",
    "she sells    sea shells; he sells the sea ....",
    "aaaa aaaaaaa aaa  bbbb abab ababab aabb",
    "ein Käse für Ärzte, 日本語のテキスト, 日本の海",
    "def keep(light):\n    return light == 12 + 345\n",
] * 20
ALPHABET = st.sampled_from(
    [
        *"abekltsh .=\n1ä",
        "the",
        "lighthouse",
        " sea",
        "    ",
        "日本",
        "é",
        "👋",
        "<tool>",
        "▁",
        "<s>",
    ]
)
TEXTS = st.lists(ALPHABET, max_size=40).map("".join)


def trained(**options):
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=file,
        **{
            "vocab_size": 420,
            "model_type": "bpe",
            "byte_fallback": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "allow_whitespace_only_pieces": True,
            "user_defined_symbols": ["<tool>", "=="],
            "minloglevel": 2,
        }
        | options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())


def header_of(model, **changes):
    """Write a trained model's pieces as converters write them into a GGUF file."""
    ids = range(model.get_piece_size())
    fields = {
        "ggml.model": "llama",
        "ggml.tokens": [model.id_to_piece(index) for index in ids],
        "ggml.scores": [model.get_score(index) for index in ids],
        "ggml.token_type": [kind_of(model, index) for index in ids],
        "ggml.bos_token_id": model.bos_id(),
        "ggml.eos_token_id": model.eos_id(),
    } | changes
    kept = {f"tokenizer.{key}": value for key, value in fields.items() if value is not None}
    return GgufHeader(Path("model.gguf"), kept, (), 0)


def kind_of(model, index):
    if model.is_unknown(index):
        return Kind.UNKNOWN
    if model.is_control(index):
        return Kind.CONTROL
    if model.is_byte(index):
        return Kind.BYTE
    is_user_defined = model.id_to_piece(index) in ("<tool>", "==")
    return Kind.USER_DEFINED if is_user_defined else Kind.NORMAL


MODEL = trained()
TOKENIZER = gguf_text_model(header_of(MODEL)).tokenizer


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_a_text_gets_the_ids_that_sentencepiece_gives(text):
    assert TOKENIZER.encode(TOKENIZER.shield(text)) == MODEL.encode(text)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_a_model_without_a_space_before_texts_gets_its_ids_too(text):
    model = without_prefix()
    tokenizer = gguf_text_model(header_of(model, **{"ggml.add_space_prefix": False})).tokenizer
    assert tokenizer.encode(tokenizer.shield(text)) == model.encode(text)
    assert tokenizer.decode(tokenizer.encode(tokenizer.shield(text))) == text.replace(SPACE, " ")


def without_prefix(cache={}):  # noqa: B006 - trained once for all examples
    if not cache:
        cache["it"] = trained(add_dummy_prefix=False)
    return cache["it"]


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40))
def test_no_text_is_lost(text):
    ids = TOKENIZER.encode(TOKENIZER.shield(text))
    assert TOKENIZER.decode(ids) == text.replace(SPACE, " ")


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_a_vocabulary_without_bytes_knows_one_token_for_a_stretch_of_unknown_characters(text):
    model = without_bytes()
    tokenizer = gguf_text_model(header_of(model)).tokenizer
    assert tokenizer.encode(tokenizer.shield(text)) == model.encode(text)


def without_bytes(cache={}):  # noqa: B006 - trained once for all examples
    if not cache:
        cache["it"] = trained(byte_fallback=False, vocab_size=200)
    return cache["it"]


def test_a_raw_prompt_begins_with_the_mark_unless_the_file_says_no():
    assert TOKENIZER.encode_prompt("the sea")[0] == MODEL.bos_id() == 1
    silent = gguf_text_model(header_of(MODEL, **{"ggml.add_bos_token": False})).tokenizer
    assert silent.encode_prompt("the sea") == MODEL.encode("the sea")


def test_control_tokens_in_a_template_are_ids_and_text_behind_them_begins_anew():
    ids = TOKENIZER.encode("<s>the sea</s>the sea")
    assert ids == [1, *MODEL.encode("the sea"), 2, *MODEL.encode("the sea")]
    assert TOKENIZER.decode(TOKENIZER.encode("the<unk>")) == "the"


def test_text_that_spells_a_byte_or_a_control_token_stays_text():
    typed = TOKENIZER.encode(TOKENIZER.shield("<0x41></s><unk>"))
    assert TOKENIZER.decode(typed) == "<0x41></s><unk>"
    assert not {MODEL.piece_to_id("<0x41>"), 0, 1, 2} & set(typed)


def test_no_merge_of_text_ends_in_a_byte_or_an_unused_token():
    spelled = ["<", "0", "x", "4", "1", ">", "<0", "<0x", "<0x4", "<0x41"]
    tokens = ["<unk>", "<s>", "</s>", "<0x41>", "<0", *[t for t in spelled if t != "<0"], SPACE]
    kinds = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL, Kind.BYTE, Kind.UNUSED]
    fields = {
        "ggml.tokens": tokens,
        "ggml.token_type": [*kinds, *[Kind.NORMAL] * (len(tokens) - len(kinds))],
        "ggml.scores": [0.0] * len(tokens),
    }
    tokenizer = gguf_text_model(header_of(MODEL, **fields)).tokenizer
    ids = tokenizer.encode("<0x41>")
    assert tokenizer.decode(ids) == "<0x41>"
    assert not {3, 4} & set(ids)


def test_user_defined_tokens_are_text_and_begin_no_word():
    ids = TOKENIZER.encode("sea<tool>sea")
    assert MODEL.piece_to_id("<tool>") in ids
    assert TOKENIZER.decode(ids) == "sea<tool>sea"


def test_an_echoed_prompt_shows_neither_the_mark_nor_the_space_that_begins_it():
    token_ids = TOKENIZER.encode_prompt("the sea 日")
    echo = echo_of(TOKENIZER, "the sea 日", token_ids)
    assert echo.text == "the sea 日"
    assert echo.offsets[:2] == (0, 0)
    starts = [*echo.offsets, len(echo.text)]
    pieces = [echo.text[a:b] for a, b in pairwise(starts)]
    assert "".join(pieces) == echo.text
    assert pieces[0] == ""


@settings(max_examples=50, deadline=None)
@given(text=TEXTS)
def test_an_echo_of_any_text_has_rising_offsets_within_it(text):
    echo = echo_of(TOKENIZER, text, TOKENIZER.encode_prompt(TOKENIZER.shield(text)))
    assert list(echo.offsets) == sorted(echo.offsets)
    assert all(0 <= offset <= len(text) for offset in echo.offsets)


@given(
    st.dictionaries(
        st.text("ab", min_size=1, max_size=4), st.integers(-9, 0).map(float), max_size=9
    )
)
def test_merges_go_from_the_highest_score_down_and_build_pieces_of_pieces(scores):
    merges = merges_of(scores)
    results = [scores[left + right] for left, right in merges]
    assert results == sorted(results, reverse=True)
    assert all(left in scores and right in scores for left, right in merges)
    assert len(set(merges)) == len(merges)


@pytest.mark.parametrize(
    "changes",
    [
        {"ggml.scores": None},
        {"ggml.scores": [0.0]},
        {"ggml.token_type": [1]},
        {"ggml.tokens": None},
    ],
)
def test_a_damaged_vocabulary_is_refused(changes):
    with pytest.raises(ModelLoadError):
        gguf_text_model(header_of(MODEL, **changes))

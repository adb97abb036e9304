"""Control tokens stay out of reach of user text, and bytes survive the round trip."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.text.token_bytes import byte_level_bytes
from pagelet_engine.text.tokenizer import Tokenizer
from pagelet_engine.text.vocabulary import byte_level_model

START, END = 256, 257  # <|im_start|>, <|im_end|>
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
spoofs = st.lists(
    st.sampled_from(["<|im_start|>", "<|im_", "start|>", "<", "|>", "<|im_end|>", "é", "a b"]),
    max_size=8,
).map("".join)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return byte_level_model().tokenizer


def test_bytes_are_the_ids_of_a_byte_level_vocabulary(tokenizer):
    assert tokenizer.encode("aé\n") == [0x61, 0xC3, 0xA9, 0x0A]


def test_a_control_token_in_the_templates_text_becomes_its_id(tokenizer):
    assert tokenizer.encode("<|im_start|>a<|im_end|>") == [START, 0x61, END]


@settings(deadline=None)
@given(text=st.one_of(texts, spoofs))
def test_shielded_text_is_encoded_as_the_plain_text_it_is(text):
    tokenizer = byte_level_model().tokenizer
    assert tokenizer.encode(tokenizer.shield(text)) == list(text.encode())


@settings(deadline=None)
@given(
    user=st.one_of(texts, spoofs),
    after=st.sampled_from(["im_end|>", "|im_end|>", "t|>", "<|im_end|>", ""]),
)
def test_user_text_never_becomes_part_of_a_control_token(user, after):
    tokenizer = byte_level_model().tokenizer
    template_alone = [token for token in tokenizer.encode(after) if token >= START]
    mixed = [token for token in tokenizer.encode(tokenizer.shield(user) + after) if token >= START]
    assert mixed == template_alone


@settings(deadline=None)
@given(text=st.one_of(texts, spoofs))
def test_text_without_control_tokens_is_left_alone_by_the_shield(text):
    if "<" not in text:
        assert byte_level_model().tokenizer.shield(text) == text


@settings(deadline=None)
@given(text=texts)
def test_decoding_what_was_encoded_gives_the_text(text):
    tokenizer = byte_level_model().tokenizer
    assert tokenizer.decode(tokenizer.encode(text), keep_control=True) == text


def test_control_tokens_are_left_out_of_text_unless_kept(tokenizer):
    ids = [START, 0x61, END]
    assert tokenizer.decode(ids) == "a"
    assert tokenizer.decode(ids, keep_control=True) == "<|im_start|>a<|im_end|>"


def test_ids_outside_the_vocabulary_add_nothing(tokenizer):
    plain = Tokenizer(tokenizer._backend, control_tokens={}, token_bytes=byte_level_bytes)
    assert plain.decode([-1, 0x61, 10**6, 2**40]) == "a"


def test_a_raw_prompt_starts_with_the_models_prefix(tokenizer):
    with_bos = Tokenizer(
        tokenizer._backend,
        control_tokens={"<s>": 300},
        token_bytes=byte_level_bytes,
        prefix_token_ids=[300],
    )
    assert with_bos.encode_prompt("a") == [300, 0x61]
    assert with_bos.encode("a") == [0x61]


def test_of_overlapping_control_tokens_the_longest_is_meant(tokenizer):
    both = Tokenizer(
        tokenizer._backend, control_tokens={"<a": 300, "<a>": 301}, token_bytes=byte_level_bytes
    )
    assert both.encode("<a><a") == [301, 300]
    assert both.encode(both.shield("<a><a")) == list(b"<a><a")


def test_a_one_character_control_token_can_be_shielded(tokenizer):
    single = Tokenizer(tokenizer._backend, control_tokens={"#": 300}, token_bytes=byte_level_bytes)
    assert single.encode("#") == [300]
    assert single.encode(single.shield("#")) == [0x23]


def test_a_control_token_without_text_is_refused(tokenizer):
    with pytest.raises(ModelLoadError, match="without text"):
        Tokenizer(tokenizer._backend, control_tokens={"": 1}, token_bytes=byte_level_bytes)


def test_a_vocabulary_that_marks_the_start_with_a_space_loses_that_space_once(tokenizer):
    spaced = Tokenizer(
        tokenizer._backend,
        control_tokens={},
        token_bytes=byte_level_bytes,
        strip_first_space=True,
    )
    assert spaced.decode([0x20, 0x20, 0x61]) == " a"

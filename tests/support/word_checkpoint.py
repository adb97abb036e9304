"""A small model folder with random weights whose output reads as words.

Random weights over a byte vocabulary write bytes that are no text; whoever asks what becomes of a
stop string, a forbidden word or a token's spelling needs text. Here the output layer leaves bytes
out, and every other token is a word of its own.
"""

import json
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from engine_checkpoints import small_config, weights_for, write_folder
from pagelet_engine.text.token_bytes import BYTE_CHARS

NUM_WORDS = 1792
CONTEXT_TOKENS = 1536
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}no thoughts\n{% endif %}"
    "{% endif %}"
)

_NUM_BYTES = 256
_END_SCALE = 2.2
"""How much more the end token's score varies than a word's: it wins now and then."""


def write_word_model(folder: Path, seed: int = 0) -> Path:
    """Write config, weights and tokenizer; the same seed gives the same model."""
    end = _NUM_BYTES + NUM_WORDS + 1
    config = small_config(
        vocab_size=end + 1,
        max_position_embeddings=CONTEXT_TOKENS,
        eos_token_ids=(end,),
        tie_word_embeddings=False,
    )
    tensors = weights_for(config, seed)
    generator = np.random.default_rng(seed)
    head = generator.standard_normal((config.vocab_size, config.hidden_size)).astype(np.float32)
    head[:_NUM_BYTES] = 0
    head[end - 1] = 0
    head[end] *= _END_SCALE
    write_folder(folder, config, {**tensors, "lm_head.weight": head})
    _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
    vocab = {char: byte for byte, char in BYTE_CHARS.items()}
    vocab |= {f"Ġ{_word(number)}": _NUM_BYTES + number for number in range(NUM_WORDS)}
    backend = Backend(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<|im_start|>"), AddedToken("<|im_end|>")])
    backend.save(str(folder / "tokenizer.json"))
    settings = {"chat_template": TEMPLATE, "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _word(number: int) -> str:
    """Spell a number in consonants and vowels, three letters to six bits and more."""
    consonants, vowels = "bdfgklmnprstvwxz", "aeio"
    word = ""
    for _ in range(2):
        number, low = divmod(number, len(consonants) * len(vowels))
        word += consonants[low // len(vowels)] + vowels[low % len(vowels)]
    return word

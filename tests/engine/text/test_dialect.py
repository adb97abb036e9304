"""A model's notations are known from its template and its vocabulary."""

import pytest

from pagelet_engine.text.dialect import dialect_of
from pagelet_engine.text.reasoning import Thinking
from pagelet_engine.text.tools.notation import Family

QWEN3 = "{% if tools %}<tools></tools><tool_call>{% endif %}{{ '</think>' }}"
LLAMA = "{% if tools %}Respond in the format {'name': f, 'parameters': {}}{% endif %}"
MISTRAL = "{% if tools %}[AVAILABLE_TOOLS][/AVAILABLE_TOOLS][TOOL_CALLS]{% endif %}"


def dialect(template, control=None, tokens=(), reads_tools=True, parser="auto"):
    return dialect_of(
        template,
        reads_tools=reads_tools,
        control_id=(control or {}).get,
        has_token=lambda text: text in tokens,
        reasoning_parser=parser,
    )


@pytest.mark.parametrize(
    ("template", "control", "family", "ids"),
    [
        (QWEN3, {}, Family.HERMES, {}),
        (QWEN3, {"<tool_call>": 7}, Family.HERMES, {"<tool_call>": 7}),
        (LLAMA, {"<|python_tag|>": 5}, Family.LLAMA, {"<|python_tag|>": 5}),
        (LLAMA + "<|python_tag|>", {}, Family.LLAMA, {}),
        (LLAMA, {}, Family.HERMES, {}),
        (MISTRAL, {"[TOOL_CALLS]": 9, "[ARGS]": 32}, Family.MISTRAL,
         {"[TOOL_CALLS]": 9, "[ARGS]": 32}),
        (None, {"<|python_tag|>": 5}, Family.HERMES, {}),
    ],
)  # fmt: skip
def test_the_notation_of_calls_is_the_templates(template, control, family, ids):
    notation = dialect(template, control).tools
    assert (notation.family, notation.control_ids) == (family, ids)


def test_a_template_that_reads_no_tools_leaves_the_notation_to_the_explanation():
    assert dialect("[TOOL_CALLS]", reads_tools=False).tools.family is Family.HERMES


def test_ids_of_calls_fit_the_template_that_reads_them_back():
    assert dialect(QWEN3).tools.new_call_id().startswith("call_")
    short = dialect(MISTRAL).tools.new_call_id()
    assert len(short) == 9
    assert short.isalnum()


@pytest.mark.parametrize(
    ("template", "tokens", "parser", "start"),
    [
        (QWEN3, (), "auto", Thinking.FREE),
        (LLAMA, (), "auto", Thinking.CLOSED),
        (LLAMA, ("</think>",), "auto", Thinking.FREE),
        (QWEN3, (), "none", Thinking.CLOSED),
        (LLAMA, (), "qwen3", Thinking.FREE),
        (LLAMA, (), "deepseek_r1", Thinking.OPEN),
    ],
)
def test_thoughts_are_looked_for_where_the_model_or_the_flag_says_so(
    template, tokens, parser, start
):
    assert dialect(template, tokens=tokens, parser=parser).thinking_after("x\n", None) is start


def test_tags_that_are_control_tokens_are_shown_only_for_models_that_think():
    control = {"<think>": 1, "</think>": 2}
    assert dialect(QWEN3, control).thought_ids == control
    assert dialect(QWEN3, control, parser="none").thought_ids == {}

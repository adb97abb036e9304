"""A model hears of its tools, from its own template or in plain text, and of nothing else."""

from pagelet_engine.text.chat_template import ChatTemplate
from pagelet_engine.text.tools.demand import Tool
from pagelet_engine.text.tools.prompt import as_objects, without_tools

TOOL = Tool("f", "Does é.", {"type": "object", "properties": {}})
HELLO = {"role": "user", "content": "hello"}


def test_a_template_that_reads_tools_gets_them_as_openai_writes_them():
    template = ChatTemplate(
        "{% if tools %}{{ tools | tojson }}{% endif %}|{{ messages[0].content }}"
    )
    assert template.reads_tools
    assert template.render([HELLO], max_chars=1000) == "|hello"
    text = template.render([HELLO], tools=as_objects([TOOL]), max_chars=1000)
    assert text.startswith(
        '[{"type": "function", "function": {"name": "f", "description": "Does é."'
    )
    assert not ChatTemplate("{{ messages }}").reads_tools


def test_without_tools_a_conversation_stays_as_it_is():
    assert without_tools([HELLO], []) == [HELLO]


def test_the_explanation_joins_the_system_message_or_becomes_one():
    alone = without_tools([HELLO], [TOOL])
    assert [message["role"] for message in alone] == ["system", "user"]
    joined = without_tools([{"role": "system", "content": "Be brief."}, HELLO], [TOOL])
    assert [message["role"] for message in joined] == ["system", "user"]
    assert joined[0]["content"] == f"Be brief.\n\n{alone[0]['content']}"
    assert '"name": "f", "description": "Does é."' in alone[0]["content"]


def test_calls_and_results_become_text_in_order():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": "é"}}}
    messages = [
        HELLO,
        {"role": "assistant", "content": "Wait.", "tool_calls": [call, call]},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ]
    _, said, result = without_tools(messages, [])
    block = '<tool_call>\n{"name": "f", "arguments": {"a": "é"}}\n</tool_call>'
    assert said == {"role": "assistant", "content": f"Wait.\n{block}\n{block}"}
    assert result == {"role": "user", "content": "<tool_response>\n42\n</tool_response>"}

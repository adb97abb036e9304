"""The model's template runs fenced in, and what goes wrong in it is one request's problem."""

import pytest

from pagelet_engine.errors import InvalidRequestError, ModelLoadError
from pagelet_engine.text.chat_template import ChatTemplate, Rendering
from pagelet_engine.text.vocabulary import CHATML

HELLO = [{"role": "user", "content": "hello"}]


def render(source, messages=HELLO, max_chars=1000, **tokens):
    return ChatTemplate(source, **tokens).render(messages, max_chars=max_chars)


def test_messages_are_written_in_the_models_format():
    assert render(CHATML) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"


def test_the_template_knows_the_sequence_marks():
    assert render("{{ bos_token }}|{{ eos_token }}", bos_token="<s>", eos_token="</s>") == (
        "<s>|</s>"
    )


def test_blocks_leave_no_blank_lines():
    source = (
        "{% for m in messages %}\n    {% if true %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}"
    )
    assert render(source) == "hello\n"


def test_what_a_template_refuses_is_told_to_the_client():
    with pytest.raises(InvalidRequestError, match="roles must alternate") as caught:
        render("{{ raise_exception('roles must alternate') }}")
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0]['content'] + 1 }}",
        "{{ 1 / 0 }}",
        "{{ missing.attribute.deep }}",
        "{{ 'a'.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% for i in range(100000000) %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_a_template_that_fails_costs_one_request(source):
    with pytest.raises(InvalidRequestError):
        render(source)


def test_output_is_bounded_while_it_grows():
    with pytest.raises(InvalidRequestError, match="longer than 1000 characters"):
        render("{% for i in range(9999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}")


def test_the_python_behind_a_value_is_out_of_reach():
    with pytest.raises(InvalidRequestError):
        render("{{ raise_exception.__globals__['json'] }}")


def test_json_is_not_escaped_for_html():
    assert render("{{ messages | tojson }}", [{"content": "<é>"}]) == '[{"content": "<é>"}]'


def test_a_template_may_ask_for_the_date():
    assert len(render("{{ strftime_now('%Y') }}")) == 4


def test_rendering_changes_nothing_of_the_messages():
    messages = [{"role": "user", "content": "hello"}]
    with pytest.raises(InvalidRequestError):
        render("{% set _ = messages[0].update({'content': 'x'}) %}", messages)
    assert messages == HELLO


def test_a_template_that_is_no_jinja_is_the_models_fault():
    with pytest.raises(ModelLoadError, match="not valid"):
        ChatTemplate("{% for %}")


def test_a_message_to_be_continued_is_left_open_whatever_follows_it():
    messages = [*HELLO, {"role": "assistant", "content": "Once upon "}]
    open_end = Rendering(add_generation_prompt=False, continue_final_message=True)
    text = ChatTemplate(CHATML).render(messages, rendering=open_end, max_chars=1000)
    assert text == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nOnce upon "
    trims = "{% for m in messages %}[{{ m.content | trim }}]{% endfor %}"
    assert ChatTemplate(trims).render(messages, rendering=open_end, max_chars=99) == (
        "[hello][Once upon "
    )


def test_a_template_that_hides_the_last_message_cannot_continue_it():
    with pytest.raises(InvalidRequestError, match="cannot be continued"):
        ChatTemplate("{{ messages[0].role }}").render(
            HELLO, rendering=Rendering(continue_final_message=True), max_chars=99
        )


def test_without_a_generation_prompt_the_last_message_is_closed():
    closed = Rendering(add_generation_prompt=False)
    text = ChatTemplate(CHATML).render(HELLO, rendering=closed, max_chars=99)
    assert text == "<|im_start|>user\nhello<|im_end|>\n"


def test_a_template_offers_what_it_reads_and_nothing_that_is_its_own():
    template = ChatTemplate(
        "{% set mine = range(2) %}{{ messages }}{{ tools }}{{ bos_token }}{{ mine }}"
        "{{ namespace(a=1) }}{{ strftime_now('%Y') }}{{ enable_thinking is defined }}"
    )
    assert template.variables == {"enable_thinking"}


def test_variables_reach_the_template_and_replace_nothing_reserved():
    template = ChatTemplate("{{ style }}|{{ bos_token }}|{{ messages | length }}", bos_token="<s>")
    told = Rendering(variables={"style": "brief", "bos_token": "x", "messages": []})
    assert template.render(HELLO, rendering=told, max_chars=99) == "brief|<s>|1"

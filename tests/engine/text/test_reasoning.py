"""Thought and answer are told apart whatever the pieces, and nothing else is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_tool_calls import cut
from pagelet_engine.text.reasoning import Thinking, ThoughtSplitter, thinking_after

FREE, OPEN, CLOSED = Thinking.FREE, Thinking.OPEN, Thinking.CLOSED


def split(start, pieces):
    splitter = ThoughtSplitter(start)
    found = [*(splitter.feed(piece) for piece in pieces), splitter.finish()]
    return "".join(thought for thought, _ in found), "".join(answer for _, answer in found)


@pytest.mark.parametrize(
    ("start", "text", "expected"),
    [
        (FREE, "<think>\nso\n\nit is\n</think>\n\nYes.", ("so\n\nit is", "Yes.")),
        (FREE, "\n <think>a</think>b", ("a", "b")),
        (FREE, "Yes. <think>a</think>", ("", "Yes. <think>a</think>")),
        (FREE, "\n\nYes.", ("", "\n\nYes.")),
        (FREE, "<thin", ("", "<thin")),
        (FREE, "<think></think>\n\nYes", ("", "Yes")),
        (FREE, "<think>cut off\n", ("cut off", "")),
        (OPEN, "so\n</think>\n\nYes.", ("so", "Yes.")),
        (OPEN, "<think>", ("<think>", "")),
        (OPEN, "so </thi", ("so </thi", "")),
        (OPEN, "so\n</thi", ("so\n</thi", "")),
        (OPEN, "a</think>b</think>c", ("a", "b</think>c")),
        (CLOSED, "<think>a</think>b", ("", "<think>a</think>b")),
        (CLOSED, "\n\nYes", ("", "\n\nYes")),
    ],
)
def test_thought_and_answer_are_told_apart(start, text, expected):
    assert split(start, [text]) == expected
    assert split(start, list(text)) == expected


fragments = st.sampled_from(["<think>", "</think>", "\n", " ", "a", "<", "</", "think>", "é"])


@given(
    st.sampled_from([FREE, OPEN, CLOSED]), st.lists(fragments, max_size=12).map("".join), st.data()
)
def test_where_the_pieces_break_changes_nothing(start, text, data):
    pieces = cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    assert split(start, pieces) == split(start, [text])


@given(st.text(alphabet="ab \n<think/>", max_size=30))
def test_only_tags_and_line_breaks_are_ever_left_out(text):
    thought, answer = split(FREE, list(text))
    left = thought + answer
    plain = text.replace("<think>", "", 1).replace("</think>", "", 1)
    assert answer == text or left.replace("\n", "").strip() == plain.replace("\n", "").strip()


@pytest.mark.parametrize(
    ("rendered", "continued", "expected"),
    [
        ("<|im_start|>assistant\n", None, FREE),
        ("<|im_start|>assistant\n<think>\n", None, OPEN),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", None, CLOSED),
        ("user said <think> and more", None, FREE),
        ("x<think>half", "<think>half", OPEN),
        ("x<think>all</think>Ye", "<think>all</think>Ye", CLOSED),
        ("xYe", "Ye", CLOSED),
        ("x<think>\n", "", OPEN),
    ],
)
def test_the_prompt_tells_where_the_output_begins(rendered, continued, expected):
    assert thinking_after(rendered, continued) is expected

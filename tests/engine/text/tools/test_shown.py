from hypothesis import given
from hypothesis import strategies as st

from pagelet_engine.text.tools.shown import ShownText

pieces = st.lists(st.sampled_from(["", " ", "\n", "a", " b ", "c\n"]), max_size=8)


@given(pieces)
def test_without_a_call_everything_is_shown(texts):
    shown, parts = ShownText(), []
    for text in texts:
        shown.show(text, parts)
    assert "".join(parts) == "".join(texts)
    assert not shown.is_behind_call


@given(pieces)
def test_behind_a_call_blanks_are_shown_only_with_what_follows_them(texts):
    shown, parts = ShownText(), []
    shown.begin_call()
    for text in texts:
        shown.show(text, parts)
    whole = "".join(texts)
    assert shown.is_behind_call == (not whole.strip())
    assert "".join(parts) == ("" if shown.is_behind_call else whole)

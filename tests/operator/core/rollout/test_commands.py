from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.rollout import Command, CommandKind, parse_command
from pagelet_operator.core.rollout.commands import MAX_LENGTH, written

words = st.text(st.characters(categories=("Ll", "Nd"), include_characters="-"), min_size=1)


@given(st.sampled_from(CommandKind), words, st.none() | words)
def test_what_is_written_is_read_as_it_was_meant(kind, unique, revision):
    text = written(kind, unique, revision)
    if len(text) <= MAX_LENGTH:
        assert parse_command(text) == Command(kind, text, revision)


@given(st.text())
def test_anything_can_be_read_and_the_same_text_is_the_same_command(text):
    found = parse_command(text)
    assert found == parse_command(f"  {text}\n") or text != text.strip()
    assert len(found.token) <= MAX_LENGTH


def test_a_word_by_hand_is_a_command_for_whichever_canary_there_is():
    assert parse_command("pause") == Command(CommandKind.PAUSE, "pause")
    assert parse_command("pause/again").revision is None
    assert parse_command("Pause").kind is None

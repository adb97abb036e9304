"""Streamed text adds up to the whole text, whatever the pieces."""

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pagelet_engine.text.detokenizer import Detokenizer, StopStrings

texts = st.text(st.sampled_from("aé日👋🏽​\n�"), max_size=20)
data = st.one_of(texts.map(str.encode), st.binary(max_size=20))
cuts = st.lists(st.integers(0, 20), max_size=8)


def pieces(whole, positions):
    edges = [0, *sorted(min(cut, len(whole)) for cut in positions), len(whole)]
    return [whole[start:end] for start, end in itertools.pairwise(edges)]


@settings(deadline=None)
@given(whole=data, positions=cuts)
def test_the_pieces_add_up_to_decoding_the_whole(whole, positions):
    parts = [bytes(part) for part in pieces(whole, positions)]
    detokenizer = Detokenizer(lambda index: parts[index])
    streamed = "".join(detokenizer.feed([index]) for index in range(len(parts)))
    assert streamed + detokenizer.finish() == whole.decode("utf-8", errors="replace")


@settings(deadline=None)
@given(whole=texts)
def test_no_replacement_character_is_shown_before_the_end_of_good_text(whole):
    encoded = whole.encode()
    detokenizer = Detokenizer(lambda byte: bytes([byte]))
    shown = ""
    for byte in encoded:
        shown += detokenizer.feed([byte])
        assert whole.startswith(shown)
    assert detokenizer.finish() == ""


def test_a_cut_character_becomes_one_replacement_character_at_the_end():
    detokenizer = Detokenizer(lambda byte: bytes([byte]))
    assert detokenizer.feed("a👋".encode()[:-1]) == "a"
    assert detokenizer.finish() == "�"


def by_character(text, stops):
    """The obviously right finder: grows the text by one character and looks whether it ends so."""
    for end in range(1, len(text) + 1):
        matching = [stop for stop in stops if text[:end].endswith(stop)]
        if matching:
            return text[: end - max(map(len, matching))], True
    return text, False


short = st.text("ab", max_size=14)
stop_lists = st.lists(st.text("ab", min_size=1, max_size=4), max_size=4)


@example(whole="aba", stops=["aba", "b"], positions=[])
@settings(deadline=None)
@given(whole=short, stops=stop_lists, positions=cuts)
def test_stop_strings_are_found_wherever_the_pieces_break(whole, stops, positions):
    finder = StopStrings(stops)
    shown = "".join(finder.feed(part) for part in pieces(whole, positions)) + finder.finish()
    assert (shown, finder.found) == by_character(whole, stops)


@settings(deadline=None)
@given(whole=short, stops=stop_lists, positions=cuts)
def test_nothing_is_shown_that_a_stop_string_takes_back(whole, stops, positions):
    final, _ = by_character(whole, stops)
    finder = StopStrings(stops)
    shown = ""
    for part in pieces(whole, positions):
        shown += finder.feed(part)
        assert final.startswith(shown)


@settings(deadline=None)
@given(whole=short, stops=stop_lists, positions=cuts)
def test_an_included_stop_string_is_all_that_is_added(whole, stops, positions):
    shown = []
    for include in (False, True):
        finder = StopStrings(stops, include=include)
        text = "".join(finder.feed(part) for part in pieces(whole, positions))
        shown.append(text + finder.finish())
    assert shown[1].startswith(shown[0])
    assert shown[1][len(shown[0]) :] in ({*stops} if finder.found else {""})


@given(whole=short, stops=stop_lists)
def test_only_what_can_still_become_a_stop_string_is_held_back(whole, stops):
    finder = StopStrings(stops)
    shown = finder.feed(whole)
    if not finder.found:
        held = whole[len(shown) :]
        assert not held or any(stop.startswith(held) for stop in stops)


def test_a_stop_string_is_found_across_three_tokens_and_ends_the_text():
    finder = StopStrings(["END"])
    assert [finder.feed(part) for part in ("one E", "N", "D two", "three")] == ["one ", "", "", ""]
    assert finder.found
    assert finder.finish() == ""


def test_a_false_start_is_shown_once_it_is_one():
    finder = StopStrings(["END"])
    assert [finder.feed(part) for part in ("EN", "EN", "x")] == ["", "EN", "ENx"]

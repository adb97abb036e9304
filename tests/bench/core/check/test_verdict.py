"""What fails a check, and what is kept of a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.check.verdict import MAX_EVIDENCE_CHARS, Need, Verdict, bounded, fails


@pytest.mark.parametrize("need", Need)
def test_broken_always_fails_and_honoured_or_untestable_never_do(need):
    assert fails(Verdict.BROKEN, need)
    assert not fails(Verdict.HONOURED, need)
    assert not fails(Verdict.UNTESTABLE, need)


def test_what_may_be_refused_may_not_be_ignored():
    assert not fails(Verdict.REFUSED, Need.REFUSABLE)
    assert fails(Verdict.IGNORED, Need.REFUSABLE)
    assert fails(Verdict.REFUSED, Need.REQUIRED)
    assert not fails(Verdict.IGNORED, Need.OPTIONAL)


@given(st.text(max_size=3000))
def test_evidence_is_one_bounded_line(text):
    line = bounded(text)
    assert len(line) <= MAX_EVIDENCE_CHARS
    assert len(line.splitlines()) <= 1

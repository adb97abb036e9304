"""Traces: made ones are in order and near their rate, read ones are the public layouts."""

import pytest

from pagelet_operator.simulation.traces import MADE, TraceError, read

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
BURST = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,GPT-4,1087,230,1317,API log
"""


@pytest.mark.parametrize("name", MADE)
def test_made_traces_are_in_order_and_repeat_by_their_seed(name):
    trace = MADE[name](1, 0.5, 10.0)
    assert [r.at for r in trace] == sorted(r.at for r in trace)
    assert trace == MADE[name](1, 0.5, 10.0) != MADE[name](2, 0.5, 10.0)
    assert 0.1 * 18_000 < len(trace) < 18_000


@pytest.mark.parametrize(
    ("text", "gap_s", "first"), [(AZURE, 4.314579, (374, 44)), (BURST, 40.5, (472, 18))]
)
def test_the_public_layouts_are_read(tmp_path, text, gap_s, first):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    found = read(path)
    assert [r.at for r in found] == [0.0, pytest.approx(gap_s)]
    assert (found[0].prompt_tokens, found[0].output_tokens) == first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "accepted: TIMESTAMP"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "no request"),
        (AZURE + "2023-11-16 18:15:51.0,many,1\n", "line 4"),
        ("", "columns none"),
    ],
)
def test_what_is_no_trace_is_refused_by_its_place(tmp_path, text, said):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match=said):
        read(path)
    with pytest.raises(TraceError, match="No such file"):
        read(tmp_path / "none.csv")

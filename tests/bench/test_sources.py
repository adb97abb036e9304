"""Loads come from files and running servers as they are there."""

import asyncio

import pytest

from bench_server import ScriptedServer, completion
from pagelet_bench.core.errors import UnreachableError, UsageError
from pagelet_bench.core.profiles import MIXED48
from pagelet_bench.server_process import free_port
from pagelet_bench.sources import from_metrics, from_trace

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,3180,8
2023-11-16 18:17:05.9799600,110,27
"""
BURST_GPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,Conversation log
"""


def written(tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return path


def test_azures_trace_is_replayed_by_its_dates(tmp_path):
    profile = from_trace(MIXED48, written(tmp_path, AZURE))
    assert profile.is_open
    assert profile.requests == 3
    assert [row.prompt_tokens for row in profile.trace] == [4808, 3180, 110]
    assert [row.arrived_s for row in profile.trace] == pytest.approx([0.0, 0.052, 2.0], abs=1e-4)


def test_burstgpts_trace_is_replayed_by_its_seconds_without_failed_requests(tmp_path):
    profile = from_trace(MIXED48, written(tmp_path, BURST_GPT))
    assert [(row.arrived_s, row.output_tokens) for row in profile.trace] == [
        (0.0, 18),
        (113.0, 276),
    ]


def test_lengths_alone_are_a_closed_loop(tmp_path):
    profile = from_trace(MIXED48, written(tmp_path, "\ufeffprompt_tokens,output_tokens\n5,6\n"))
    assert (profile.concurrency, profile.requests, profile.name) == (48, 1, "trace.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column with prompt lengths; it has no header"),
        ("prompt_tokens,output_tokens\n", "it is empty"),
        ("prompt_tokens,output_tokens\n5\n", "row 1 of the trace, column 'output_tokens', is ''"),
        ("arrived_s,prompt_tokens,output_tokens\n2,1,1\n1,1,1\n", "row 2.*sort the file"),
        ("arrived_s,prompt_tokens,output_tokens\nsoon,1,1\n", "is 'soon'; it must be seconds"),
        ("arrived_s,prompt_tokens,output_tokens\nnan,1,1\n", "is 'nan'; it must be seconds"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_by_row_and_column(tmp_path, text, said):
    with pytest.raises(UsageError, match=said):
        from_trace(MIXED48, written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no\.csv cannot be read"):
        from_trace(MIXED48, tmp_path / "no.csv")


async def test_lengths_are_what_a_running_server_has_seen():
    def metrics():
        return "\n".join(
            f'x_{what}_tokens_bucket{{le="{bound}"}} {count}'
            for what, count in (("prompt", 5), ("output", 3))
            for bound in ("64", "+Inf")
        )

    server = ScriptedServer(completion, metrics=metrics)
    async with server.listening():
        profile = await from_metrics_in_thread(f"{server.url}/metrics")
    assert profile.prompts.counts == (5.0,)
    assert profile.outputs.bounds == (64.0,)
    assert "Bearer k" in server.headers[-1]


async def test_a_server_that_is_not_there_is_named():
    with pytest.raises(UnreachableError, match="cannot be reached"):
        await from_metrics_in_thread(f"http://127.0.0.1:{free_port()}/metrics")


async def from_metrics_in_thread(url):
    return await asyncio.to_thread(from_metrics, MIXED48, url, "k")

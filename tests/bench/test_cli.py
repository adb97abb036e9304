"""`pagelet bench` as a user runs it: a process, a table, a file, an exit code."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from bench_server import ScriptedServer, chat_answer, completion, is_trial, refusal
from pagelet_bench.server_process import free_port

CLOSED = ["--requests", "5", "--concurrency", "2"]


async def start(*arguments, **environment):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pagelet",
        "bench",
        *map(str, arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )


async def bench(*arguments, **environment):
    process = await start(*arguments, **environment)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_run_without_failures_exits_0_with_a_table_and_silence_on_stderr():
    async with ScriptedServer(completion).listening() as server:
        code, out, err = await bench(server.url, *CLOSED)
    assert (code, err) == (0, "")
    assert out.startswith("5 requests: 5 ok;")
    assert "TTFT" in out
    assert "out tok/s" in out


async def test_failed_requests_exit_1_and_are_named():
    def failing(body):
        return completion(body) if is_trial(body) else refusal(503, "queue is full")

    async with ScriptedServer(failing).listening() as server:
        code, out, _ = await bench(server.url, "--model", "m", *CLOSED)
    assert code == 1
    assert out.startswith("5 requests: 0 ok, 5 refused;")
    assert "HTTP 503: queue is full" in out


async def test_stalls_are_counted_as_time_outs():
    def stalling(body):
        return completion(body, gap_s=0.0 if is_trial(body) else 60.0)

    async with ScriptedServer(stalling).listening() as server:
        code, out, _ = await bench(server.url, *CLOSED, "--timeout", "3", "--concurrency", 5)
    assert code == 1
    assert "5 timed out" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["127.0.0.1:1"], "not an address"),
        (["http://h", "--profile", "x"], "no profile 'x'"),
        (["http://h", "--rate", "1", "--concurrency", "1"], "not both"),
        (["http://h", "--requests", "0"], "requests is 0"),
        (["http://h", "--vocab-size", "9"], "vocabulary size is 9"),
        (["http://h", "--timeout", "0"], "--timeout"),
        (["http://h", "--json", "/no/such/folder/x.json"], "/no/such/folder/x.json"),
        (["http://h", "--html", "/no/such/folder/x.html"], "/no/such/folder/x.html"),
        (["http://h", "--rate", "0"], "rate is 0"),
        (["http://h", "--rate", "1", "--burstiness", "0"], "burstiness is 0"),
        (["http://h", "--ramp"], "--slo-ttft"),
        (["http://h", "--ramp", "--slo-itl", "1", "--max-rate", "0.5"], "max-rate is 0.5"),
        (["http://h", "--ramp", "--slo-itl", "1", "--requests", "5"], "trial-seconds"),
        (["http://h", "--slo-ttft", "-1"], "slo-ttft is -1"),
        (["http://h", "--trace", "/no/x.csv"], "/no/x.csv cannot be read"),
        (["http://h", "--trace", "/x.csv", "--profile", "single"], "one of profile, trace"),
        (["http://k:secret@h"], "the address holds a password"),
        ([], "Missing argument"),
    ],
)
async def test_bad_usage_exits_2_with_a_sentence(arguments, told):
    code, out, err = await bench(*arguments, COLUMNS="300")
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


async def test_an_endpoint_that_is_not_there_exits_2_with_its_address():
    url = f"http://127.0.0.1:{free_port()}"
    code, out, err = await bench(url)
    assert (code, out) == (2, "")
    assert err.startswith(f"pagelet bench: {url} cannot be reached")


async def test_the_result_file_holds_figures_load_and_surroundings_and_no_key(tmp_path):
    path = tmp_path / "result.json"
    async with ScriptedServer(completion).listening() as server:
        await bench(
            server.url,
            *["--rate", "50", "--requests", "4", "--seed", "9", "--json", path],
            PAGELET_API_KEY="hush-hush",
        )
    assert "Bearer hush-hush" in server.headers[0]
    text = path.read_text()
    assert "hush-hush" not in text
    document = json.loads(text)
    assert document["schema_version"] == 1
    assert document["report"]["ok"] == 4
    assert document["report"]["ttft"]["count"] == 4
    assert [row["outcome"] for row in document["requests"]] == ["ok"] * 4
    assert document["workload"]["rate_per_s"] == 50.0
    assert document["workload"]["seed"] == 9
    dialect = {"form": "token_ids", "ignore_eos": True, "min_tokens": True, "is_strict": False}
    assert document["endpoint"]["dialect"] == dialect
    assert {"hardware", "versions", "commit", "command"} <= set(document)


async def test_a_missed_slo_exits_3_and_a_kept_one_0():
    limits = ["--slo-ttft", "60", "--slo-itl", "60"]
    async with ScriptedServer(completion).listening() as server:
        code, out, _ = await bench(server.url, *CLOSED, *limits)
        assert code == 0
        assert "kept: 100.0 % good" in out
        code, out, _ = await bench(server.url, *CLOSED, "--slo-e2e", "0.000001")
    assert code == 3
    assert "missed: 0.0 % good, 5 missed e2e" in out


async def test_a_ramp_ends_with_the_highest_rate_that_held(tmp_path):
    pages = {name: tmp_path / name for name in ("r.json", "r.md", "r.html")}
    ramp = ["--ramp", "--rate", 20, "--max-rate", 40, "--trial-seconds", 0.5, "--ramp-repeats", 1]
    async with ScriptedServer(completion).listening() as server:
        code, out, err = await bench(
            server.url,
            *ramp,
            *["--profile", "single", "--slo-ttft", "60", "--json", pages["r.json"]],
            *["--markdown", pages["r.md"], "--html", pages["r.html"]],
        )
    assert (code, err) == (0, "")
    assert "The SLO holds at 40 requests/s, the highest rate tried." in out
    document = json.loads(pages["r.json"].read_text())
    assert document["ramp"]["found"] == {"holds_per_s": 40.0, "breaks_per_s": None}
    assert [trial["rate_per_s"] for trial in document["ramp"]["trials"]] == [20.0, 40.0]
    assert document["goodput"]["is_met"]
    assert "the highest rate tried" in pages["r.md"].read_text()
    assert pages["r.html"].read_text().count("<svg") == 7


async def test_a_ramp_that_never_holds_exits_3_and_stops_each_trial_early():
    async with ScriptedServer(lambda body: completion(body, first_s=0.02)).listening() as server:
        code, out, _ = await bench(
            server.url,
            *["--ramp", "--rate", 64, "--trial-seconds", 0.5, "--ramp-repeats", 1],
            *["--slo-ttft", "0.001", "--profile", "single", "--slo-share", "0.9"],
        )
    assert code == 3
    assert "The SLO is missed even at 1 requests/s." in out
    assert len(server.bodies) < 7 * 20, "no trial of the seven was run to its end"


async def test_a_chat_is_loaded_with_its_conversation():
    async with ScriptedServer(chat_answer).listening() as server:
        code, out, _ = await bench(
            server.url,
            *["--api", "chat", "--profile", "single", "--turns", 3, "--requests", 3, "--json", "-"],
        )
    assert code == 0
    assert json.loads(out)["endpoint"]["dialect"]["form"] == "chat"
    last = server.bodies[-1]["messages"]
    assert [message["role"] for message in last] == ["user", "assistant"] * 2 + ["user"]
    assert last[1]["content"].startswith("w0 w1 ")
    assert all("POST /v1/chat/completions " in head for head in server.headers)


async def test_a_trace_is_replayed_by_its_times(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("arrived_s,prompt_tokens,output_tokens\n10,5,3\n10.3,6,4\n")
    async with ScriptedServer(completion).listening() as server:
        code, out, _ = await bench(server.url, "--trace", path, "--json", "-")
    assert code == 0
    lengths = [(len(body["prompt"]), body["max_tokens"]) for body in server.bodies[1:]]
    assert lengths == [(5, 3), (6, 4)]
    assert json.loads(out)["workload"]["trace"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_prints_what_has_finished(number):
    stuck = asyncio.Event()

    def two_then_never(body):
        if len(server.bodies) <= 3:  # the trial and two more
            return completion(body)
        stuck.set()
        return completion(body, first_s=600.0)

    server = ScriptedServer(two_then_never)
    async with server.listening():
        process = await start(server.url, "--requests", "5", "--concurrency", "1")
        await asyncio.wait_for(stuck.wait(), 60)
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert out.decode().startswith("5 requests: 2 ok, 3 not finished;")
    assert b"Traceback" not in err


def test_importing_the_command_imports_no_http_client():
    code = "import sys, pagelet_bench.cli; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""`pagelet check` as a user runs it: a process, a table, files, an exit code; over real sockets."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from bench_server import Script, ScriptedServer
from check_endpoint import KEY, MODEL, serving
from pagelet_bench.server_process import free_port

FEW = ["--only", "sampling.seed", "--only", "streaming.chat", "--only", "errors.object"]


async def check(*arguments, **environment):
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "pagelet", "check", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_right_endpoint_exits_0_with_a_table_and_silence_on_stderr():
    async with serving() as url:
        code, out, err = await check(f"{url}/v1/", *FEW, PAGELET_API_KEY=KEY)
    assert (code, err) == (0, "")
    assert out.startswith(f"{url} ({MODEL})")
    assert "3 probes: 3 honoured; nothing fails the check" in out


async def test_beside_a_wrong_endpoint_the_differences_are_named_and_it_exits_1(tmp_path):
    page, document = tmp_path / "x.md", tmp_path / "x.json"
    (tmp_path / "key").write_text(f"{KEY}\n")
    async with serving() as url, serving("seed") as other:
        code, out, _ = await check(
            *[url, "--against", other, *FEW, "--markdown", page, "--json", document],
            *["--api-key-file", tmp_path / "key", "--against-api-key", KEY],
        )
    assert code == 1
    assert "B ignored: the same seed gives two texts" in out
    assert out.count("≠") == 1
    assert "| **honoured** | **ignored !** |" in page.read_text()
    written = document.read_text()
    found = json.loads(written)
    assert found["endpoints"][1]["failing"] == ["sampling.seed"]
    exchanges = found["endpoints"][1]["probes"][1]["exchanges"]
    assert [exchange["status"] for exchange in exchanges] == [200, 200]
    assert KEY not in written + page.read_text() + out


@pytest.mark.parametrize(
    ("defect", "probe", "told"),
    [
        ("false_done", "streaming.chat", "[DONE] comes though choice 0 has no finish_reason"),
        ("cut_stream", "streaming.chat", "broke in the middle"),
        ("integer_code", "errors.object", "the error's code is 400, not a string"),
        ("hang_up", "sampling.seed", "the connection"),
        ("server_error", "errors.object", "HTTP 500"),
    ],
)
async def test_a_server_wrong_on_the_wire_is_broken_and_exits_1(defect, probe, told):
    async with serving(defect) as url:
        code, out, _ = await check(url, "--only", probe, PAGELET_API_KEY=KEY)
    assert code == 1
    assert "broken !" in out
    assert told in out


async def test_an_endpoint_that_hangs_is_broken_within_its_time():
    def respond(body):
        answer = {"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}
        steps = [json.dumps(answer).encode()]
        return Script([600.0] if "seed" in body else steps, content_type="application/json")

    async with ScriptedServer(respond).listening() as server:
        code, out, _ = await check(server.url, "--only", "sampling.seed", "--timeout", "1")
    assert code == 1
    assert "no complete answer within 1 s" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["127.0.0.1:1"], "not an address"),
        (["http://u:p@h"], "holds a password"),
        (["http://h", "--only", "no-such"], "no group 'no-such'; groups are basic"),
        (["http://h", "--json", "/no/such/folder/x.json"], "/no/such/folder/x.json"),
        (["http://h", "--api-key-file", "/no/such/key"], "/no/such/key cannot be read"),
    ],
)
async def test_bad_usage_exits_2_with_a_sentence(arguments, told):
    code, out, err = await check(*arguments, COLUMNS="300")
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


async def test_nobody_there_a_wrong_key_and_a_wrong_model_exit_2_with_a_sentence():
    code, _, err = await check(f"http://127.0.0.1:{free_port()}")
    assert (code, "cannot be reached" in err) == (2, True), err
    async with serving() as url:
        code, _, err = await check(url, PAGELET_API_KEY="wrong")
        assert (code, "refuses the key" in err) == (2, True), err
        code, _, err = await check(url, "--model", "other", PAGELET_API_KEY=KEY)
        assert (code, f"it serves {MODEL}" in err) == (2, True), err

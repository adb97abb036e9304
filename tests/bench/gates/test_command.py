"""`pagelet gate` against real engines: the same weights, other weights, a slow canary, none."""

import json
import subprocess
import sys

import pytest

from pagelet_bench.core.gates.summary import MAX_BYTES
from pagelet_bench.gates.command import GateOptions, gate, measure
from server_process import ServerProcess
from slow_relay import slow_relay
from word_checkpoint import write_word_model

KEY = "a-key-of-gateways"
LOAD = {"profile": "mixed48", "requests": 3, "concurrency": 3}
FEW = {"prompts": ["The capital of France is", "1, 2, 3, 5, 8,", "Once"], "maxTokens": 6}


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "gateway-key"
    path.write_text(KEY + "\n")
    return path


@pytest.fixture(scope="module")
def engines(tmp_path_factory, key_file):
    """Two engines with different weights; they know nobody but the holder of the key."""
    servers = []
    for number, seed in enumerate((0, 1)):
        folder = write_word_model(tmp_path_factory.mktemp(f"model{number}"), seed)
        command = [sys.executable, "-m", "pagelet", "serve", str(folder), "--port=0"]
        command += ["--served-model-name=m", f"--gateway-key-file={key_file}"]
        servers.append(ServerProcess(command))
    try:
        yield [server.wait_ready() for server in servers]
    finally:
        for server in servers:
            server.close()


async def figures(kind, url, key_file, **options):
    settings = json.dumps(options.pop("settings", {}))
    asked = GateOptions(kind=kind, url=url, key_file=key_file, settings=settings, **options)
    return (await measure(asked))["figures"]


async def test_the_same_weights_agree_to_the_last_token(engines, key_file):
    found = await figures("parity", engines[0], key_file, against=engines[0], settings=FEW)
    assert found["prompts"] == 3
    assert found["agreementPercent"] == found["identicalPercent"] == 100
    assert found["logprobDistance"] < 0.01


async def test_other_weights_part_at_once(engines, key_file):
    found = await figures("parity", engines[1], key_file, against=engines[0], settings=FEW)
    assert found["agreementPercent"] < 20
    assert found["firstDivergence"] < 5


async def test_a_prompt_that_stable_refuses_too_is_no_difference(engines, key_file):
    asked = {"prompts": ["Hello", "far too long " * 1000], "maxTokens": 4}
    found = await figures("parity", engines[0], key_file, against=engines[0], settings=asked)
    assert (found["prompts"], found["agreementPercent"]) == (1, 100)


async def test_a_load_test_can_be_like_users_traffic(engines, key_file):
    counts = [0, 5, 5] + [0] * 13
    asked = LOAD | {"lengths": {"prompt": counts, "output": [10] + [0] * 15}}
    asked = GateOptions(
        kind="loadTest", url=engines[0], key_file=key_file, settings=json.dumps(asked)
    )
    told = (await measure(asked))["lengths"]
    assert told["output"] == [3] + [0] * 15
    assert told["prompt"][1] + told["prompt"][2] == 3


async def test_warm_up_tells_the_first_request_apart(engines, key_file):
    found = await figures("warmup", engines[0], key_file, settings={"requests": 2})
    assert (found["requests"], found["failed"]) == (2, 0)
    assert found["firstTtft"] > 0
    assert found["ttftP50"] > 0


async def test_a_load_test_sees_that_a_canary_is_slow(engines, key_file):
    good = await figures("loadTest", engines[0], key_file, settings=LOAD)
    assert (good["requests"], good["errorRate"], good["timeoutRate"]) == (3, 0, 0)
    assert good["queueDepthPeak"] >= 0
    async with slow_relay(engines[0], delay_s=0.15) as slow:
        bad = await figures("loadTest", slow, key_file, settings=LOAD | {"requests": 2})
    # The relay alone takes so long; how fast the engine is, the machine decides.
    assert bad["ttftP50"] >= 0.14


def test_the_program_writes_a_summary_that_fits_the_last_words_of_a_container(
    engines, key_file, tmp_path
):
    path = tmp_path / "summary.json"
    command = [sys.executable, "-m", "pagelet", "gate", "loadTest", engines[0]]
    command += [f"--key-file={key_file}", f"--settings={json.dumps(LOAD)}", f"--summary={path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.stat().st_size < MAX_BYTES
    found = json.loads(path.read_text())
    assert sum(found["lengths"]["prompt"]) == 3
    assert len(found["curves"]["ttft"]) == 10


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "warmup", "url": "http://127.0.0.1:1"}, "cannot be reached"),
        ({"kind": "warmup", "url": "nowhere"}, "is not an address"),
        ({"kind": "parity", "url": "http://127.0.0.1:1"}, "needs --against"),
        ({"kind": "chaos", "url": "http://127.0.0.1:1"}, "choose one of warmup"),
        ({"kind": "warmup", "url": "http://h", "settings": "[]"}, "no JSON object"),
    ],
)
def test_what_cannot_be_measured_is_no_measurement(options, told, tmp_path, capsys):
    path = tmp_path / "summary.json"
    assert gate(GateOptions(**options, summary=path)) == 2
    assert told in capsys.readouterr().err
    assert told in json.loads(path.read_text())["error"]


async def test_a_wrong_key_is_an_error_and_no_verdict(engines, tmp_path):
    path = tmp_path / "key"
    path.write_text("another")
    with pytest.raises(Exception, match="answered HTTP 401"):
        await figures("warmup", engines[0], path)

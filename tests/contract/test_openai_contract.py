"""The engine's API, asked by `pagelet check` over a socket: every probe, by what it must find.

Random weights that write words stand for a model (`word_checkpoint`); everything else is what users
run. The key is asked for, so that the probe with a wrong one has something to observe.
"""

import asyncio
import json
import sys

import pytest

from pagelet_bench.check.discovery import discover
from pagelet_bench.check.runner import run_probes
from pagelet_bench.check.wire import Wire
from pagelet_bench.core.check.catalogue import PROBES
from pagelet_bench.core.check.verdict import Verdict
from server_process import echo_server
from word_checkpoint import CONTEXT_TOKENS, write_word_model

KEY = "sk-may-call-the-api-"
BY_CHOICE = {
    # Clients notice a refusal, and its message says what to use instead.
    "constraints.guided_json": Verdict.REFUSED,
    "constraints.guided_regex": Verdict.REFUSED,
    "prompts.best_of": Verdict.REFUSED,
    "prompts.suffix": Verdict.REFUSED,
    "prompts.truncate_prompt_tokens": Verdict.REFUSED,
    # The model goes on for longer than these probes wait; tests of the engine hold both.
    "sampling.ignore_eos": Verdict.UNTESTABLE,
    "sampling.min_tokens": Verdict.UNTESTABLE,
    # No route may be read by a page of another origin, so there is nothing to ask first.
    "transport.options": Verdict.IGNORED,
}
"""Where the engine does not do what a probe looks for; all else is honoured."""


async def asked(url):
    async with Wire(url, KEY, timeout_s=60) as wire:
        target, _ = await discover(wire, None, has_key=True)
        outcomes = await run_probes(wire, target, PROBES, limit_s=600, on_outcome=lambda _: None)
    return {outcome.probe.id: outcome.finding for outcome in outcomes}


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    (folder / "keys").write_text(KEY)
    source = str(write_word_model(folder / "model"))
    engine = json.dumps({"model": source, "num_threads": 1, "max_num_seqs": 8})
    with echo_server(
        command=[sys.executable, "-m", "pagelet_engine.process", "--config", engine],
        model={"model": source, "served_model_name": "words", "max_model_len": CONTEXT_TOKENS},
        listen={"api_keys_file": str(folder / "keys")},
    ) as server:
        return asyncio.run(asked(server.wait_ready()))


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.id)
def test_the_engine_honours_what_is_asked_of_it_or_refuses_it_by_choice(findings, probe):
    finding = findings[probe.id]
    assert finding.verdict is BY_CHOICE.get(probe.id, Verdict.HONOURED), finding.evidence


def test_every_exception_names_a_probe():
    assert set(BY_CHOICE) <= {probe.id for probe in PROBES}

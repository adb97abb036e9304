"""`pagelet rollout` beside a running `pagelet up`: real processes, a scripted engine."""

import json

import pytest
from typer.testing import CliRunner

from local_processes import until_sync
from local_up import Up, resource, write
from pagelet.main import build

ROLLOUT = {
    "steps": [{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}],
    "analysis": {"metrics": []},
    "retainStable": "1h",
}


def rollout(*arguments):
    return CliRunner().invoke(build(), ["rollout", *map(str, arguments)])


@pytest.fixture
def canary(tmp_path):
    """A `pagelet up` with a canary at its first step, and a way to ask it."""
    file, state = tmp_path / "models.yaml", tmp_path / "state"
    write(file, resource(rollout=ROLLOUT))
    with Up(file, state_dir=state) as up:
        up.wait_for("Serving")
        write(file, resource(rollout=ROLLOUT, engine={"maxModelLen": 64}))
        up.wait_for("CanaryReady")
        yield lambda *said: rollout(*said, "--state-dir", state)


def standing(say):
    return json.loads(say("status", "chat", "--json").stdout)


def test_a_person_pauses_goes_on_and_promotes(canary):
    assert standing(canary)["canary"]["weight"] == 10
    paused = canary("pause", "chat")
    assert (paused.exit_code, "keeps 10 %" in paused.stdout) == (0, True)
    assert standing(canary)["phase"] == "Paused"
    assert "Paused" in canary("status", "chat").stdout
    assert canary("resume", "chat").exit_code == 0
    assert canary("promote", "chat").exit_code == 0
    until_sync(lambda: standing(canary)["canary"]["weight"] == 50)
    stable = standing(canary)["stable"]["revision"]
    assert canary("promote-full", "chat").exit_code == 0
    assert canary("status", "chat", "--watch").exit_code == 0
    assert standing(canary)["stable"]["revision"] != stable


def test_what_cannot_be_done_says_why(canary):
    refused = canary("resume", "chat")
    assert (refused.exit_code, refused.stderr) == (1, "chat: it is not paused\n")
    unknown = canary("status", "chatt")
    assert unknown.exit_code == 2
    assert "there are: default/chat" in unknown.stderr
    assert canary("abort", "chat").exit_code == 0
    assert canary("status", "chat", "--watch").exit_code == 1
    again = canary("abort", "chat", "--json")
    assert json.loads(again.stdout)["accepted"] is False
    assert "retry tries it again" in again.stdout
    assert canary("retry", "chat").exit_code == 0
    until_sync(lambda: (standing(canary)["canary"] or {}).get("weight") == 10)


def test_every_command_documents_its_exit_codes():
    for command in ("promote", "promote-full", "pause", "resume", "abort", "retry", "status"):
        assert "Exit codes" in rollout(command, "--help").stdout

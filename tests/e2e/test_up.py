"""`pagelet up` with nothing replaced: the real model, engine, gateway and client."""

import os
import signal
import threading
import time
from pathlib import Path

import openai
import pytest
import yaml

from local_client import chat
from local_processes import is_alive, until_sync
from local_up import Up, write

pytestmark = pytest.mark.model

SAMPLE = Path(__file__).resolve().parents[2] / "manifests/samples/01-minimal.yaml"
MODEL = "smollm2-135m"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ROLLOUT = {
    "steps": [{"weight": 20, "hold": "2s"}, {"weight": 60, "hold": "2s"}],
    "retainStable": "1s",
    "analysis": {"metrics": []},
}


def client_of(up):
    return openai.OpenAI(base_url=up.url, api_key="unused", max_retries=0, timeout=120)


def edited(**engine):
    document = yaml.safe_load(SAMPLE.read_text())
    document["spec"] |= {"engine": engine, "rollout": ROLLOUT}
    return document


def gone_within(up, seconds):
    until_sync(lambda: not up.children(), within_s=seconds, what=lambda: str(up.children()))


def test_the_sample_answers_the_official_client_streamed_and_not_and_leaves_nobody(tmp_path):
    with Up(SAMPLE, state_dir=tmp_path / "state", real=True) as up:
        assert up.wait_for("Serving")["models"] == [MODEL]
        with client_of(up) as client:
            asked = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 24}
            whole = client.chat.completions.create(**asked)
            chunks = list(client.chat.completions.create(**asked, stream=True))
            assert [model.id for model in client.models.list()] == [MODEL]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert "Paris" in whole.choices[0].message.content
        assert text == whole.choices[0].message.content
        up.interrupt()
        assert up.end() == 0
        assert up.children() == []


def test_nobody_outlives_a_killed_supervisor_and_a_killed_engine_is_replaced(tmp_path):
    with Up(SAMPLE, state_dir=tmp_path / "state", real=True) as up:
        up.wait_for("Serving")
        os.kill(up.child("pagelet serve"), signal.SIGKILL)
        until_sync(lambda: len(up.seen("ReplicaReady")) == 2, within_s=90, what=up.story)
        until_sync(lambda: chat(up.url, MODEL, max_tokens=4).status == 200)
        up.process.kill()
        gone_within(up, 10.0)


class Load:
    """Constant streamed and unstreamed requests; every one of them is judged."""

    def __init__(self, up):
        self.revisions, self.failures, self.num_done = [], [], 0
        self._done = threading.Event()
        self._client = client_of(up)
        self._threads = [
            threading.Thread(target=self._run, args=(index % 2 == 0,)) for index in range(3)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def _run(self, stream):
        create = self._client.chat.completions.with_raw_response.create
        while not self._done.is_set():
            try:
                raw = create(
                    model=MODEL, messages=QUESTION, temperature=0, max_tokens=24, stream=stream
                )
                self._judge(raw, stream)
            except openai.OpenAIError as error:
                self.failures.append(repr(error))
            self.num_done += 1

    def _judge(self, raw, stream):
        self.revisions.append(raw.headers["x-pagelet-revision"])
        if stream:
            choices = [chunk.choices[0] for chunk in raw.parse() if chunk.choices]
            text = "".join(choice.delta.content or "" for choice in choices)
            reason = choices[-1].finish_reason
        else:
            choice = raw.parse().choices[0]
            text, reason = choice.message.content, choice.finish_reason
        if "Paris" not in text or reason != "stop":
            self.failures.append((text, reason))


@pytest.mark.timeout(400)
def test_an_edit_under_load_rolls_out_by_its_steps_without_a_failed_request(tmp_path):
    file = write(tmp_path / "model.yaml", edited())
    with Up(file, state_dir=tmp_path / "state", real=True) as up:
        old_name = up.wait_for("FirstRevisionReady")["stable"]
        up.wait_for("Serving")
        old = up.child("pagelet serve")
        with Load(up) as load:
            write(file, edited(maxModelLen=1024))
            up.wait_for("StepCompleted", within_s=120)
            write(file, edited(maxModelLen=-1))
            refusal = up.wait_for("Refused")["message"]
            up.wait_for("Promoted", within_s=120)
            write(file, edited(maxModelLen=5_000_000))
            impossible = up.wait_for("ReplicaFailed", phase="Failed", within_s=120)["message"]
            write(file, edited(maxModelLen=1024))
            done = load.num_done
            until_sync(lambda: load.num_done > done + 6, within_s=120)
            until_sync(lambda: not is_alive(old), within_s=60)
            assert load.failures == []
        new_name = up.wait_for("Promoted")["stable"]
        assert load.failures == []
        assert set(load.revisions) == {old_name, new_name}
        assert load.revisions[-1] == new_name
        weights = [e["weights"].get(new_name) for e in up.events if e.get("weights")]
        assert list(dict.fromkeys(w for w in weights if w)) == [20, 60, 100]  # and never back
        assert "5000000" in impossible.replace("_", "").replace(",", "")
        assert f"{file}: spec.engine.maxModelLen" in refusal
        # The withdrawn revision keeps its replica for a few seconds, without traffic.
        until_sync(lambda: [r["name"] for r in up.routes()["models"][0]["revisions"]] == [new_name])
        up.interrupt()
        started = time.monotonic()
        assert up.end() == 0
        assert time.monotonic() - started < 60
        assert up.children() == []

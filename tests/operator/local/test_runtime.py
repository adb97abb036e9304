"""What the process runtime promises beyond the contract of every runtime."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from local_client import opened
from local_processes import is_alive, scripted_engine, until
from operator_models import a_model
from pagelet_operator.core.model import Plan, RevisionPlan, Role
from pagelet_operator.local.probe import HttpProbe
from pagelet_operator.local.route_file import RouteFile
from pagelet_operator.local.runtime import ProcessRuntime
from pagelet_operator.ports import UnavailableError


@pytest.fixture
async def runtime_of(tmp_path):
    made = []
    async with HttpProbe() as probe:

        def make(**options):
            runtime = ProcessRuntime(
                routes=RouteFile(tmp_path / "routes.json"),
                log_dir=tmp_path / "logs",
                probe=probe,
                listener=lambda reason, text: None,
                **{"engine": scripted_engine, "settle_s": 0.0, **options},
            )
            made.append(runtime)
            return runtime

        yield make
        for runtime in made:
            await runtime.close(0.0)


def plan(*revisions, replicas=1, env=(), device="auto", traffic=None, **engine):
    template = {
        "model": {"source": "dummy://tiny"},
        "engine": {"device": device, **engine},
        "pod": {"env": [{"name": name, "value": value} for name, value in env]},
    }
    return Plan(
        revisions=tuple(
            RevisionPlan(
                revision=name, template=template, role=Role.STABLE, replicas=replicas, weight=0
            )
            for name in revisions
        ),
        traffic=traffic or {"name": "chat", "revisions": list(revisions)},
    )


async def ready(runtime, revision, replicas=1):
    ref = a_model().ref
    while True:
        seen = (await runtime.observe(ref)).revisions[revision]
        if seen.ready == replicas:
            return seen
        await asyncio.sleep(0.02)


def pids(runtime):
    return [replica.service.pid for replica in runtime._all()]


def environment(pid):
    raw = Path(f"/proc/{pid}/environ").read_bytes()
    return dict(item.partition("=")[::2] for item in raw.decode().split("\0"))


async def test_a_permanent_failure_is_observed_in_the_engines_words(runtime_of):
    runtime = runtime_of()
    await runtime.apply(a_model(), plan("chat-a", env=[("SCRIPT", "config-error")]))
    while True:
        seen = (await runtime.observe(a_model().ref)).revisions["chat-a"]
        if seen.failure:
            break
        await asyncio.sleep(0.02)
    assert seen.failure == "spec.model.source: there is no such model."
    assert seen.replicas == 1
    assert await runtime.apply(a_model(), plan("chat-a", env=[("SCRIPT", "config-error")])) == 0


async def test_gpus_are_shared_out_and_the_users_own_choice_wins(runtime_of):
    runtime = runtime_of(gpus=("GPU-a", "GPU-b"))
    await runtime.apply(a_model(), plan("chat-a", replicas=3, gpuMemoryFraction=0.5))
    await ready(runtime, "chat-a", 3)
    given = sorted(environment(pid)["CUDA_VISIBLE_DEVICES"] for pid in pids(runtime))
    assert given in (["GPU-a", "GPU-a", "GPU-b"], ["GPU-a", "GPU-b", "GPU-b"])
    other = a_model("own-a", ref=type(a_model().ref)("default", "own"))
    await runtime.apply(other, plan("own-a", env=[("CUDA_VISIBLE_DEVICES", "7")]))
    own = runtime._revisions[other.ref]["own-a"].replicas[0]
    await until(lambda: own.service.pid and own.service.endpoint)
    assert environment(own.service.pid)["CUDA_VISIBLE_DEVICES"] == "7"


async def test_a_replica_that_no_gpu_has_room_for_waits_and_starts_when_one_has(runtime_of):
    runtime = runtime_of(gpus=("GPU-a",))
    await runtime.apply(a_model(), plan("chat-a", "chat-b"))
    await ready(runtime, "chat-a")
    seen = (await runtime.observe(a_model().ref)).revisions["chat-b"]
    assert (seen.replicas, seen.short[:33]) == (0, "none of 1 GPUs has 90% of its mem")
    lent = plan("chat-a", "chat-b")
    first, second = lent.revisions
    lent = replace(lent, revisions=(replace(first, replicas=0), second))
    await runtime.apply(a_model(), lent)
    assert (await runtime.observe(a_model().ref)).revisions["chat-b"].short, "it still ends"
    await asyncio.wait(runtime._ending)
    await runtime.apply(a_model(), lent)
    assert (await ready(runtime, "chat-b")).short is None


async def test_an_engine_on_the_cpu_takes_no_gpu(runtime_of):
    runtime = runtime_of(gpus=("GPU-a",), env={"PATH": os.environ["PATH"]})
    await runtime.apply(a_model(), plan("chat-a", device="cpu"))
    await ready(runtime, "chat-a")
    assert "CUDA_VISIBLE_DEVICES" not in environment(pids(runtime)[0])


async def test_traffic_is_taken_away_before_a_replica_is_told_to_end(runtime_of, tmp_path):
    runtime = runtime_of(settle_s=600.0)
    await runtime.apply(a_model(), plan("chat-a", "chat-b"))
    await ready(runtime, "chat-b")
    await runtime.apply(a_model(), plan("chat-a"))
    table = json.loads((tmp_path / "routes.json").read_text())
    assert table["models"][0]["revisions"] == ["chat-a"]
    await asyncio.sleep(0.3)
    assert len(pids(runtime)) == 2
    assert all(is_alive(pid) for pid in pids(runtime))


async def test_apply_does_not_wait_for_a_retired_replicas_streams_and_they_finish(runtime_of):
    runtime = runtime_of()
    await runtime.apply(a_model(), plan("chat-a"))
    url = (await ready(runtime, "chat-a")).endpoints[0]
    body = {"stream": True, "max_tokens": 20}

    def read_slowly(started):
        with opened(f"{url}/v1/chat/completions", body) as answer:
            answer.readline()
            started()
            return answer.read().decode()

    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    reading = asyncio.create_task(
        asyncio.to_thread(read_slowly, lambda: loop.call_soon_threadsafe(begun.set))
    )
    await begun.wait()
    await runtime.apply(a_model(), plan())
    assert not reading.done()
    assert (await runtime.observe(a_model().ref)).revisions == {}
    assert (await reading).endswith("data: [DONE]\n\n")
    await until(lambda: runtime._all() == [])


async def test_a_retired_replica_that_does_not_end_is_killed_when_its_time_is_up(
    runtime_of, monkeypatch
):
    monkeypatch.setattr("pagelet_operator.local.runtime.KILL_MARGIN_S", 0.0)
    runtime = runtime_of()
    model = a_model(request_timeout_s=0.3)
    await runtime.apply(model, plan("chat-a", env=[("SCRIPT", "stubborn")]))
    await ready(runtime, "chat-a")
    pid = pids(runtime)[0]
    await runtime.apply(model, plan())
    await until(lambda: not is_alive(pid))
    await until(lambda: runtime._all() == [])


async def test_a_table_that_cannot_be_written_ends_nothing(runtime_of, tmp_path):
    runtime = runtime_of()
    await runtime.apply(a_model(), plan("chat-a", "chat-b"))
    await ready(runtime, "chat-b")
    before = pids(runtime)
    (tmp_path / "routes.json.new").mkdir()
    with pytest.raises(UnavailableError, match=r"routes\.json"):
        await runtime.apply(a_model(), plan("chat-a"))
    with pytest.raises(UnavailableError):
        await runtime.remove(a_model())
    assert pids(runtime) == before
    assert set((await runtime.observe(a_model().ref)).revisions) == {"chat-a", "chat-b"}
    (tmp_path / "routes.json.new").rmdir()
    assert await runtime.remove(a_model()) > 0
    await until(lambda: runtime._all() == [])


async def test_a_removed_model_leaves_the_table(runtime_of, tmp_path):
    runtime = runtime_of()
    await runtime.apply(a_model(), plan("chat-a"))
    await runtime.remove(a_model())
    assert json.loads((tmp_path / "routes.json").read_text())["models"] == []
    assert await runtime.remove(a_model()) == 0


async def test_close_leaves_nobody_and_ends_what_was_ending(runtime_of):
    runtime = runtime_of(settle_s=0.1)
    await runtime.apply(a_model(), plan("chat-a", "chat-b", env=[("SCRIPT", "stubborn")]))
    await ready(runtime, "chat-a")
    await ready(runtime, "chat-b")
    running = pids(runtime)
    await runtime.apply(a_model(), plan("chat-b", env=[("SCRIPT", "stubborn")]))
    await asyncio.wait_for(runtime.close(0.2), 60)
    assert not any(is_alive(pid) for pid in running)


async def test_replicas_inherit_the_hub_token(runtime_of):
    runtime = runtime_of(env={**os.environ, "HF_TOKEN": "secret"})
    await runtime.apply(a_model(), plan("chat-a"))
    await ready(runtime, "chat-a")
    assert environment(pids(runtime)[0])["HF_TOKEN"] == "secret"

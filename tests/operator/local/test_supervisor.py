"""The loop itself, in this process: real children, but a clock and a gateway of the test's own."""

import asyncio
import os
from contextlib import asynccontextmanager

import pytest

from local_processes import engine_args, is_alive, scripted_engine, until
from local_up import resource, write
from pagelet_operator.local.gates import ProcessGates
from pagelet_operator.local.notices import Notices
from pagelet_operator.local.probe import HttpProbe
from pagelet_operator.local.process import Command
from pagelet_operator.local.route_file import RouteFile
from pagelet_operator.local.runtime import ProcessRuntime
from pagelet_operator.local.service import Service
from pagelet_operator.local.spec_files import SpecFiles
from pagelet_operator.local.supervisor import GatewayFailedError, Supervisor
from pagelet_operator.senses import Senses

ROLLOUT = {"steps": [{"weight": 50, "hold": "1h"}], "retainStable": "1h"}


class Record:
    """A report that remembers."""

    def __init__(self):
        self.events, self.latest, self.weights = [], [], set()

    def event(self, event):
        self.events.append(event)

    def rows(self, rows):
        self.latest = list(rows)
        self.weights |= {(row.phase, row.weight) for row in rows if row.role == "canary"}

    def close(self):
        pass

    def reasons(self):
        return [event.reason for event in self.events]

    def seen(self, reason):
        return [event for event in self.events if event.reason == reason]


class World:
    def __init__(self, tmp_path, probe, gateway_script, drain_s):
        self.now = 1000.0
        self.record = Record()
        self.folder = tmp_path
        notices = Notices()
        env = {**os.environ, "SCRIPT": gateway_script}
        self.runtime = ProcessRuntime(
            routes=RouteFile(tmp_path / "routes.json"),
            log_dir=tmp_path / "logs",
            probe=probe,
            listener=notices,
            engine=scripted_engine,
            settle_s=0.0,
        )
        self.gateway = Service(
            "gateway",
            command=lambda port: Command(engine_args(port), env),
            probe=probe,
            probe_path="/livez",
            log=tmp_path / "gateway.log",
            listener=notices,
        )
        self.gates = ProcessGates(tmp_path / "gates", os.environ, None)
        self.supervisor = Supervisor(
            files=SpecFiles([tmp_path / "models.yaml"]),
            runtime=self.runtime,
            gateway=self.gateway,
            notices=notices,
            report=self.record,
            url="http://here/v1",
            drain_s=drain_s,
            senses=Senses(gates=self.gates),
            clock=lambda: self.now,
        )

    def pids(self):
        services = [self.gateway, *(replica.service for replica in self.runtime._all())]
        return [service.pid for service in services if service.pid]

    async def event(self, reason):
        await until(lambda: self.record.seen(reason), what=str(self.record.events))
        return self.record.seen(reason)[-1]


@asynccontextmanager
async def running(tmp_path, *documents, gateway_script="", drain_s=20.0):
    write(tmp_path / "models.yaml", *(documents or [resource()]))
    async with HttpProbe() as probe:
        world = World(tmp_path, probe, gateway_script, drain_s)
        task = asyncio.create_task(world.supervisor.run())
        world.task = task
        try:
            yield world
        finally:
            world.supervisor.stop()
            world.supervisor.stop()
            await asyncio.wait({task})
            await world.gates.close()
            assert world.pids() == []


async def test_time_moves_the_rollout_and_the_table_follows(tmp_path):
    async with running(tmp_path, resource(rollout=ROLLOUT)) as world:
        await world.event("Serving")
        write(tmp_path / "models.yaml", resource(rollout=ROLLOUT, engine={"maxModelLen": 64}))
        await world.event("CanaryReady")
        stable, canary = world.record.latest
        assert (canary.phase, canary.role, canary.weight) == ("Progressing", "canary", "50 %")
        assert (stable.ready, canary.ready) == ("1/1", "1/1")
        world.now += 3600
        await world.event("Promoted")
        await until(lambda: len(world.record.latest) == 1)
        assert len(world.pids()) == 3
        world.now += 3600
        await until(lambda: len(world.pids()) == 2)
        assert len(world.record.seen("Serving")) == 1


@pytest.mark.parametrize(("says", "reason"), [("x", "GatesPassed"), ("y", "GateFailed")])
async def test_a_canary_meets_users_only_after_its_gates(tmp_path, says, reason):
    gates = {"warmup": {"requests": 2}, "parity": {"prompts": ["a", "b"]}}
    rollout = {**ROLLOUT, "gates": gates}
    async with running(tmp_path, resource(rollout=rollout)) as world:
        await world.event("Serving")
        write(tmp_path / "models.yaml", resource(script=f"says={says}", rollout=rollout))
        said = await world.event(reason)
        await until(lambda: list((tmp_path / "gates").glob("*/*/*.order.json")) == [])
        assert world.record.seen("Gating")
    before_users = {weight for phase, weight in world.record.weights if phase != "Progressing"}
    assert before_users == {"0 %"}
    if reason == "GateFailed":
        assert "parity" in said.message
        assert world.record.weights == {("Starting", "0 %"), ("Gating", "0 %")}


async def test_a_gateway_that_cannot_start_ends_it_and_leaves_nobody(tmp_path):
    async with running(tmp_path, gateway_script="config-error") as world:
        with pytest.raises(GatewayFailedError, match="there is no such model"):
            await world.task
        assert world.pids() == []


async def test_a_world_that_does_not_answer_is_said_once_and_tried_again(tmp_path):
    (tmp_path / "routes.json.new").mkdir()
    async with running(tmp_path) as world:
        await world.event("Unavailable")
        await asyncio.sleep(1.0)
        assert len(world.record.seen("Unavailable")) == 1
        (tmp_path / "routes.json.new").rmdir()
        await world.event("Serving")


async def test_a_bug_in_the_loop_leaves_nobody(tmp_path, monkeypatch):
    async with running(tmp_path) as world:
        await world.event("Serving")
        pids = world.pids()
        monkeypatch.setattr(world.record, "rows", lambda rows: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await world.task
        assert not any(is_alive(pid) for pid in pids)


async def test_a_model_that_comes_back_is_announced_again(tmp_path):
    file = tmp_path / "models.yaml"
    async with running(tmp_path, resource(), resource("other")) as world:
        await until(
            lambda: any(
                e.details["models"] == ["chat", "other"] for e in world.record.seen("Serving")
            )
        )
        said = len(world.record.seen("Serving"))
        write(file, resource("other"))
        await world.event("Deleted")
        write(file, resource(), resource("other"))
        await until(lambda: len(world.record.seen("Serving")) == said + 1)


async def test_nothing_is_announced_while_the_gateway_is_away(tmp_path):
    async with running(tmp_path, gateway_script="crash") as world:
        await world.event("FirstRevisionReady")
        await asyncio.sleep(1.0)
        assert world.record.seen("Serving") == []


async def test_a_time_that_has_passed_does_not_make_it_spin(tmp_path, monkeypatch):
    turns = 0
    async with running(tmp_path, resource(script="never-ready")) as world:
        await world.event("FirstRevisionNotReady")
        observe = world.runtime.observe

        async def counted(ref):
            nonlocal turns
            turns += 1
            return await observe(ref)

        monkeypatch.setattr(world.runtime, "observe", counted)
        world.now += 10**6
        await world.event("ProgressDeadlineExceeded")
        turns = 0
        await asyncio.sleep(1.0)
        assert turns < 10


async def test_a_gateway_that_cut_streams_makes_the_exit_code_one(tmp_path, monkeypatch):
    monkeypatch.setattr("pagelet_operator.local.supervisor.KILL_MARGIN_S", 0.2)
    async with running(tmp_path, gateway_script="stubborn", drain_s=0.0) as world:
        await world.event("Serving")
        world.supervisor.stop()
        assert await world.task == 1
        assert "time was up" in world.record.events[-1].message


async def test_the_gateway_has_ended_before_the_first_replica_is_told_to(tmp_path):
    """A request that the gateway has accepted still needs an engine to send it to."""
    async with running(tmp_path) as world:
        await world.event("FirstRevisionReady")
        gateway_alive_then = []
        close = world.runtime.close

        async def watched(drain_s):
            gateway_alive_then.append(world.gateway.pid is not None)
            await close(drain_s)

        world.runtime.close = watched
        world.supervisor.stop()
        await world.event("Stopped")
    assert gateway_alive_then[0] is False

"""What the probes conclude from the engine process's silence."""

import pytest

from pagelet_engine.engine_client import EngineClient
from pagelet_engine.server.service import LIVE_SILENCE_S, Service
from server_process import echo_command


class QuietEngine(EngineClient):
    """A real engine process that was last heard of `quiet_s` ago."""

    quiet_s = 0.0

    def silence_s(self) -> float:
        return self.quiet_s


@pytest.fixture
def service():
    return Service(model_name="m", max_queued=1, max_num_seqs=1, max_body_bytes=1, created=0)


@pytest.fixture
async def engine():
    engine = QuietEngine(echo_command("--load-seconds", "0.2"))
    await engine.start()
    yield engine
    await engine.stop()


async def test_a_server_without_an_engine_yet_is_live(service):
    assert service.is_live()


async def test_silence_is_no_fault_while_loading_and_one_afterwards(service, engine):
    service.attach_engine(engine)
    engine.quiet_s = LIVE_SILENCE_S + 1
    assert service.is_live()
    await engine.wait_ready()
    assert not service.is_live()
    engine.quiet_s = LIVE_SILENCE_S - 1
    assert service.is_live()


async def test_a_dead_engine_is_not_live_at_once(service, engine):
    service.attach_engine(engine)
    await engine.wait_ready()
    await engine.stop()
    assert not service.is_live()

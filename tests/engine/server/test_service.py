"""What the probes conclude from the engine process's state."""

import pytest

from pagelet_engine.engine_client import EngineClient
from pagelet_engine.server.service import Service
from server_process import echo_command


@pytest.fixture
def service():
    return Service(model_name="m", max_queued=1, max_num_seqs=1, max_body_bytes=1, created=0)


@pytest.fixture
async def engine():
    engine = EngineClient(echo_command("--load-seconds", "0.2"))
    await engine.start()
    yield engine
    await engine.stop()


async def test_a_server_without_an_engine_yet_is_live(service):
    assert service.is_live()


async def test_an_engine_is_live_unless_stuck_and_another_one_starts_afresh(service, engine):
    service.attach_engine(engine)
    assert service.is_live()
    service.set_stuck(True)
    assert not service.is_live()
    service.attach_engine(engine)
    assert service.is_live()
    assert b"pagelet_engine_open_sequences" in service.metrics.exposition()


async def test_a_dead_engine_is_not_live_at_once(service, engine):
    service.attach_engine(engine)
    await engine.wait_ready()
    await engine.stop()
    assert not service.is_live()

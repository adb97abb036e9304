"""What the probes conclude from the engine process's state."""

import dataclasses
import re

import msgspec
import pytest

from pagelet_engine.core.sampling_params import SamplingParams
from pagelet_engine.engine_client import EngineClient
from pagelet_engine.messages import Ready, Submit
from pagelet_engine.server.auth import Caller
from pagelet_engine.server.service import Service
from pagelet_engine.terms import Terms
from pagelet_engine.text.vocabulary import byte_level_model
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


def fingerprint(service, digest="d", **changes):
    limits = Ready(
        vocab_size=9,
        max_model_len=99,
        num_blocks=9,
        block_size=16,
        dtype="float32",
        device="cpu",
        kv_cache_bytes=1,
        weights_bytes=1,
        load_seconds=0.1,
    )
    text = dataclasses.replace(byte_level_model(), digest=digest)
    return service.load(text, msgspec.structs.replace(limits, **changes)).fingerprint


def test_the_fingerprint_follows_weights_and_arithmetic_and_nothing_else(service):
    found = fingerprint(service)
    assert re.fullmatch("fp_[0-9a-f]{12}", found)
    assert fingerprint(service, load_seconds=5.0, num_blocks=8) == found
    others = [fingerprint(service, "e"), fingerprint(service, dtype="bfloat16")]
    others += [fingerprint(service, device="cuda"), fingerprint(service, max_model_len=98)]
    assert len({found, *others}) == 5


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


def test_terms_come_from_the_key_and_the_shortest_time(service):
    caller = Caller("a", 2.0, 1)
    terms = service.terms_of(caller, (None, 3.0, 2.0))
    assert (terms.tenant, terms.weight, terms.priority, terms.deadline_s) == ("a", 2.0, 1, 2.0)
    assert service.terms_of(caller, (None, None)).deadline_s is None
    assert terms.after(0.5).deadline_s == 1.5
    assert 0 < terms.after(9.0).deadline_s < 0.01


def test_tenants_share_no_salt_and_no_server_tells_anothers(service):
    salts = [service.terms_of(Caller(name), ()).cache_salt for name in ("a", "a", "b")]
    assert salts[0] == salts[1] != salts[2]
    other = Service(model_name="m", max_queued=1, max_num_seqs=1, max_body_bytes=1, created=0)
    assert other.terms_of(Caller("a"), ()).cache_salt != salts[0]


def test_a_group_shares_the_cache_and_nothing_else(service):
    first = service.terms_of(Caller("a", 2.0, cache_group="g"), ())
    second = service.terms_of(Caller("b", 1.0, cache_group="g"), ())
    assert first.cache_salt == second.cache_salt
    assert (first.tenant, first.weight, second.tenant, second.weight) == ("a", 2.0, "b", 1.0)


class Recorder(EngineClient):
    """Writes down what would be sent."""

    sent: list[Submit]

    def _send(self, command):
        self.sent.append(command)


async def test_the_engine_process_hears_all_terms():
    client = Recorder(echo_command())
    client.sent = []
    terms = Terms(cache_salt=b"s", tenant="a", weight=2.0, priority=3, deadline_s=4.0)
    client.submit([1], SamplingParams(max_tokens=1), terms=terms, constraint="c")
    assert client.sent == [
        Submit(1, [1], SamplingParams(max_tokens=1), b"s", "a", 2.0, 3, 4.0, "c")
    ]

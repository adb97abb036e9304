"""What a reader has not taken is bounded: the engine is told to hold back, and to go on."""

import pytest

from pagelet_engine.core.finish import FinishReason
from pagelet_engine.core.logprobs import TokenLogprobs
from pagelet_engine.errors import EngineDeadError
from pagelet_engine.generation import Generation
from pagelet_engine.messages import TokenOutput


class Engine:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []

    def hold(self, seq_id: int, is_held: bool) -> None:
        self.told.append((seq_id, is_held))


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def generation(engine):
    return Generation(7, lambda seq_id: None, engine.hold, max_unread_bytes=256)


async def test_a_reader_that_keeps_up_is_never_held(engine, generation):
    for token in range(100):
        generation.feed(TokenOutput(7, [token]))
        assert (await anext(generation)).token_ids == [token]
    assert engine.told == []


async def test_unread_tokens_hold_it_back_once_and_reading_lets_it_go_on(engine, generation):
    for token in range(4):
        generation.feed(TokenOutput(7, [token]))
    assert engine.told == []
    for token in range(4, 7):  # what was under way still comes
        generation.feed(TokenOutput(7, [token]))
    assert engine.told == [(7, True)]
    assert (await anext(generation)).token_ids == list(range(7))
    assert engine.told == [(7, True), (7, False)]
    generation.feed(TokenOutput(7, [7], FinishReason.LENGTH))
    assert [output.token_ids async for output in generation] == [[7]]
    assert engine.told == [(7, True), (7, False)]


async def test_log_probabilities_weigh_more_than_tokens(engine, generation):
    top = tuple((token, -1.0) for token in range(20))
    generation.feed(TokenOutput(7, [1], logprobs=[TokenLogprobs(1, -1.0, 1, top)]))
    assert engine.told == [(7, True)]


async def test_what_has_ended_is_not_held(engine, generation):
    generation.feed(TokenOutput(7, list(range(50)), FinishReason.LENGTH))
    assert engine.told == []
    assert (await anext(generation)).finish_reason is FinishReason.LENGTH


async def test_what_failed_while_held_gives_its_tokens_and_then_the_error(engine, generation):
    generation.feed(TokenOutput(7, list(range(50))))
    generation.fail(EngineDeadError("gone"))
    assert len((await anext(generation)).token_ids) == 50
    with pytest.raises(EngineDeadError):
        await anext(generation)

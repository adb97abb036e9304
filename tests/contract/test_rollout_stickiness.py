"""A conversation through a whole rollout: the operator's weights, the gateway's choice."""

from hypothesis import given
from hypothesis import strategies as st

from operator_models import a_fleet, a_model
from pagelet_gateway.core.split import by_key
from pagelet_operator.core.rollout import Observations, Phase, RolloutState, parse_command, step

A, B = "chat-a", "chat-b"
FLEET = a_fleet({A: 1, B: 1})
STABLE = RolloutState(phase=Phase.STABLE, stable=A)

keys = st.lists(st.text(min_size=1), min_size=1, max_size=30, unique=True)
moments = st.lists(
    st.tuples(st.sampled_from([5.0, 30.0, 61.0]), st.sampled_from(["", "pause", "resume"])),
    max_size=15,
)


def chosen(weights, key):
    return by_key({name: weight for name, weight in weights.items() if weight}, key)


def rollout(story):
    """Yield the weights of a rollout to B, told so, to its end."""
    state, now = STABLE, 0.0
    yield {A: 100}
    for number, (seconds, word) in enumerate([*story, (0.0, "resume"), *[(61.0, "")] * 5]):
        now += seconds
        command = parse_command(f"{word}/{number}") if word else None
        decision = step(state, a_model(B), FLEET, now, Observations(command=command))
        state = decision.state
        yield decision.weights
    assert state.stable == B


@given(keys, moments)
def test_a_conversation_moves_once_to_the_canary_and_stays_through_promotion(keys, story):
    where = dict.fromkeys(keys, A)
    share = 0
    for weights in rollout(story):
        for key in keys:
            now = chosen(weights, key)
            if now != where[key]:
                assert (where[key], now) == (A, B), "it moved back"
                assert weights.get(B, 0) > share, "it moved though no share grew"
            where[key] = now
        share = weights.get(B, 0)
    assert set(where.values()) == {B}


@given(keys)
def test_a_withdrawn_canary_gives_every_conversation_back_to_where_it_was(keys):
    begun = step(STABLE, a_model(B), FLEET, 0.0)
    stayed = [key for key in keys if chosen(begun.weights, key) == A]
    told = Observations(command=parse_command("abort/1"))
    aborted = step(begun.state, a_model(B), FLEET, 1.0, told)
    assert {chosen(aborted.weights, key) for key in keys} == {A}
    retried = step(
        aborted.state, a_model(B), FLEET, 2.0, Observations(command=parse_command("retry/2"))
    )
    assert [key for key in keys if chosen(retried.weights, key) == A] == stayed

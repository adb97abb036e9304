"""The worker and its matcher processes as the API process and the engine process see them."""

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagelet_engine.constraints import spec
from pagelet_engine.constraints.client import ConstraintClient
from pagelet_engine.constraints.masks import (
    DEAD_END,
    LATE,
    MASK_PATIENCE_S,
    UNREACHABLE,
    Masks,
)
from pagelet_engine.constraints.messages import Vocabulary
from pagelet_engine.errors import InvalidRequestError, UnavailableError

EOS = 256
PIECES = [b'"a"', b"true", b"fals", b"e,", b"12", b"\xc3\xa9", b'":', b"[[", b" \n"]
TOKENS = [bytes([byte]) for byte in range(256)] + [b"", b""] + PIECES
VOCABULARY = Vocabulary(TOKENS, [EOS, EOS + 1], [EOS])


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[ConstraintClient]:
    client = ConstraintClient(lambda: VOCABULARY)
    try:
        yield client
    finally:
        await client.stop()


@pytest.fixture
def masks() -> Iterator[Masks]:
    masks = Masks(len(TOKENS))
    yield masks
    for seq_id in (1, 2, 3):
        masks.close(seq_id)


async def random_text(
    client: ConstraintClient, constraint: spec.Constraint, seed: int = 0, most: int = 3000
) -> bytes:
    """Return what a model without any sense writes under a constraint, up to its end."""
    compiled = await client.compile(constraint, num_sequences=1, param="x")
    masks, dice, text = Masks(len(TOKENS)), random.Random(seed), b""
    assert masks.open(1, compiled.address) is None
    for _ in range(most):
        allowed = masks.allowed([1])
        assert allowed is not None
        token = int(dice.choice(allowed[0].nonzero()[0]))
        if token == EOS:
            masks.close(1)
            compiled.close()
            return text
        text += TOKENS[token]
        masks.advance([(1, token)])
    raise AssertionError(f"no end after {most} tokens: {text[:200]!r}")


scalars = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.integers(0, 99).map(lambda most: {"type": "integer", "minimum": -9, "maximum": most}),
    st.integers(0, 8).map(lambda most: {"type": "string", "maxLength": most}),
    st.lists(st.sampled_from(["é", 'a"b', "\\", 1, None, 2.5]), min_size=1, unique=True).map(
        lambda values: {"enum": values}
    ),
)


def _containers(
    inner: st.SearchStrategy[dict[str, object]],
) -> st.SearchStrategy[dict[str, object]]:
    names = st.text('abcé "', min_size=1, max_size=4)
    return st.one_of(
        st.builds(
            lambda items, most: {"type": "array", "items": items, "maxItems": most},
            inner,
            st.integers(0, 3),
        ),
        st.builds(
            lambda properties, num: {
                "type": "object",
                "properties": properties,
                "required": list(properties)[:num],
                "additionalProperties": False,
            },
            st.dictionaries(names, inner, max_size=3),
            st.integers(0, 3),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    )


schemas = st.recursive(scalars, _containers, max_leaves=6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batch=st.lists(st.tuples(schemas, st.integers(0, 10**6)), min_size=1, max_size=8))
def test_whatever_is_drawn_under_a_schema_is_json_of_that_schema(batch):
    async def check() -> None:
        async with running() as client:
            for schema, seed in batch:
                text = await random_text(client, spec.json_schema(schema, param="x"), seed)
                jsonschema.validate(json.loads(text), schema)

    asyncio.run(check())


async def test_regex_choice_and_grammar_are_followed():
    async with running() as client:
        for seed in range(4):
            text = await random_text(client, spec.regex(r"[0-9]{2}-(x|yy)", param="x"), seed)
            assert text[:2].isdigit()
            assert text[2:] in (b"-x", b"-yy")
            choices = ['a"é', "true", "\\n\n"]
            text = await random_text(client, spec.choice(choices, param="x"), seed)
            assert text.decode() in choices
            lark = 'start: ("a" start "b") | "ab"'
            text = await random_text(client, spec.grammar(lark, param="x"), seed)
            assert text == b"a" * (len(text) // 2) + b"b" * (len(text) // 2)


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        (spec.regex("([", param="x"), "unclosed"),
        (spec.regex(r"(?=a)b", param="x"), "look-around"),
        (spec.grammar("start: nothing", param="x"), "nothing"),
        (spec.json_schema({"type": "foo"}, param="x"), "foo"),
        (spec.json_schema({"$ref": "http://10.0.0.1/schema"}, param="x"), "10.0.0.1"),
        (spec.json_schema(False, param="x"), ""),
    ],
)
async def test_what_cannot_be_compiled_is_the_clients_error_and_hurts_nobody(constraint, says):
    async with running() as client:
        with pytest.raises(InvalidRequestError, match="x cannot be used") as caught:
            await client.compile(constraint, num_sequences=1, param="x")
        assert says in str(caught.value)
        assert caught.value.param == "x"
        assert await random_text(client, spec.choice(["still"], param="x")) == b"still"


async def test_sequences_of_one_request_are_matched_apart(masks):
    async with running() as client:
        compiled = await client.compile(
            spec.choice(["ab", "cd"], param="x"), num_sequences=2, param="x"
        )
        assert masks.open(1, compiled.address) is None
        assert masks.open(2, compiled.address) is None
        masks.allowed([1, 2])
        masks.advance([(1, ord("a")), (2, ord("c"))])
        rows = masks.allowed([1, 7, 2])
        assert rows is not None
        assert list(rows[0].nonzero()[0]) == [ord("b")]
        assert rows[1].all()
        assert list(rows[2].nonzero()[0]) == [ord("d")]


async def test_a_token_that_is_not_allowed_ends_its_own_sequence_only(masks):
    async with running() as client:
        compiled = await client.compile(spec.choice(["ab"], param="x"), num_sequences=2, param="x")
        for seq_id in (1, 2):
            assert masks.open(seq_id, compiled.address) is None
        masks.allowed([1, 2])
        masks.advance([(1, ord("z")), (2, ord("a"))])
        rows = masks.allowed([1, 2])
        assert rows is not None
        assert not rows[0].any()
        assert masks.problem(1) == DEAD_END
        assert rows[1].any()
        assert masks.problem(7) is None


async def test_a_killed_matcher_ends_its_sequence_at_once(masks):
    async with running() as client:
        doomed = await client.compile(spec.choice(["ab"], param="x"), num_sequences=1, param="x")
        other = await client.compile(spec.choice(["cd"], param="x"), num_sequences=1, param="x")
        assert masks.open(1, doomed.address) is None
        assert masks.open(2, other.address) is None
        masks.allowed([1, 2])
        doomed.close()
        # The worker obeys in order: once this one lives, the other is dead.
        await client.compile(spec.choice(["x"], param="x"), num_sequences=1, param="x")
        assert masks.open(3, doomed.address) == UNREACHABLE
        masks.advance([(1, ord("a")), (2, ord("c"))])
        rows = await asyncio.to_thread(masks.allowed, [1, 2])
        assert rows is not None
        assert not rows[0].any()
        assert masks.problem(1) == LATE
        assert list(rows[1].nonzero()[0]) == [ord("d")]


async def test_a_matcher_that_hangs_holds_a_step_up_for_its_patience_and_only_once(masks):
    async with running() as client:
        hung = await client.compile(spec.choice(["ab"], param="x"), num_sequences=1, param="x")
        other = await client.compile(spec.choice(["cd"], param="x"), num_sequences=1, param="x")
        assert masks.open(1, hung.address) is None
        assert masks.open(2, other.address) is None
        assert masks.allowed([1, 2]) is not None
        pids = children_of(client.worker_pid)
        assert len(pids) == 2
        os.kill(min(pids), signal.SIGSTOP)
        masks.advance([(1, ord("a")), (2, ord("c"))])
        rows = await asyncio.to_thread(masks.allowed, [1, 2])
        assert rows is not None
        assert MASK_PATIENCE_S <= masks.last_wait_s < MASK_PATIENCE_S + 5.0
        assert (masks.problem(1), masks.num_late) == (LATE, 1)
        assert not rows[0].any()
        assert list(rows[1].nonzero()[0]) == [ord("d")]
        masks.close(1)
        assert masks.allowed([2, 7]) is not None or masks.last_wait_s < MASK_PATIENCE_S
        hung.close()
        other.close()


def children_of(parent: int | None) -> list[int]:
    with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as children:
        return [int(pid) for pid in children.read().split()]


async def test_each_compilation_is_told_with_its_outcome_and_time():
    told: list[tuple[str, float]] = []
    client = ConstraintClient(lambda: VOCABULARY, on_compiled=lambda *told_: told.append(told_))
    try:
        assert client.num_workers == client.num_open == 0
        compiled = await client.compile(spec.choice(["a"], param="x"), num_sequences=1, param="x")
        assert (client.num_workers, client.num_open) == (1, 1)
        with pytest.raises(InvalidRequestError):
            await client.compile(spec.regex("((", param="x"), num_sequences=1, param="x")
        assert client.worker_pid is not None
        os.kill(client.worker_pid, signal.SIGSTOP)
        waiting = asyncio.create_task(
            client.compile(spec.choice(["a"], param="x"), num_sequences=1, param="x")
        )
        await asyncio.sleep(0)  # it runs up to the answer that does not come
        assert client.num_open == 2
        os.kill(client.worker_pid, signal.SIGKILL)
        with pytest.raises(UnavailableError):
            await waiting
        compiled.close()
        other = await client.compile(spec.choice(["a"], param="x"), num_sequences=1, param="x")
        other.close()
        assert [outcome for outcome, _ in told] == [
            "compiled",
            "refused",
            "unavailable",
            "compiled",
        ]
        assert all(seconds > 0 for _, seconds in told)
        assert (client.num_workers, client.num_open) == (2, 0)
    finally:
        await client.stop()


async def test_a_killed_worker_is_replaced_and_running_sequences_go_on(masks):
    async with running() as client:
        before = await client.compile(spec.choice(["ab"], param="x"), num_sequences=1, param="x")
        assert masks.open(1, before.address) is None
        assert client.worker_pid is not None
        os.kill(client.worker_pid, signal.SIGKILL)
        masks.allowed([1])
        masks.advance([(1, ord("a"))])
        rows = masks.allowed([1])
        assert rows is not None
        assert list(rows[0].nonzero()[0]) == [ord("b")]
        with contextlib.suppress(UnavailableError):  # if the death has not been noticed yet
            await random_text(client, spec.choice(["new"], param="x"))
        assert await random_text(client, spec.choice(["new"], param="x")) == b"new"


async def test_a_worker_that_stops_answering_is_a_503_and_does_not_stay(monkeypatch):
    monkeypatch.setattr("pagelet_engine.constraints.client._ANSWER_PATIENCE_S", 0.5)
    async with running() as client:
        assert await random_text(client, spec.choice(["a"], param="x")) == b"a"
        assert client.worker_pid is not None
        os.kill(client.worker_pid, signal.SIGSTOP)
        with pytest.raises(UnavailableError):
            await client.compile(spec.choice(["a"], param="x"), num_sequences=1, param="x")
        monkeypatch.setattr("pagelet_engine.constraints.client._ANSWER_PATIENCE_S", 30.0)
        assert await random_text(client, spec.choice(["b"], param="x")) == b"b"

"""The keys of engines' metrics: of models that were asked about, and followed when they change."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import ApiUnavailableError
from pagelet_operator.kube.engine_keys import FORGET_S, REFRESH_S, EngineKeys, key_in

REF, OTHER = ModelRef("team", "chat"), ModelRef("team", "other")


def holding(key: str) -> dict[str, Any]:
    return {"data": {"key": base64.b64encode(key.encode()).decode()}}


class Secrets:
    """The API server's Secrets; `None` is an outage."""

    def __init__(self, **secrets: dict[str, Any]) -> None:
        self.secrets: Mapping[str, Any] | None = secrets
        self.asked: list[str] = []

    async def get(self, kind: Any, namespace: str, name: str) -> Any:
        assert (kind.plural, namespace) == ("secrets", "team")
        self.asked.append(name)
        if self.secrets is None:
            raise ApiUnavailableError("gone")
        return self.secrets.get(name.removesuffix("-gateway-key"))


class World:
    def __init__(self, **secrets: dict[str, Any]) -> None:
        self.now = 100.0
        self.api = Secrets(**secrets)
        self.keys = EngineKeys(self.api, lambda: self.now)  # type: ignore[arg-type]


async def test_only_the_secret_of_a_model_that_was_asked_about_is_read() -> None:
    world = World(chat=holding("one"), other=holding("two"))
    await world.keys.refresh()
    assert world.keys(REF) is None
    await world.keys.refresh()
    assert world.keys(REF) == "one"
    assert world.api.asked == ["chat-gateway-key"]


async def test_a_key_that_is_replaced_is_followed_and_one_that_cannot_be_read_stays() -> None:
    world = World(chat=holding("one"))
    world.keys(REF)
    await world.keys.refresh()
    world.api.secrets = {"chat": holding("two")}
    await world.keys.refresh()
    assert world.keys(REF) == "one", "not older than a minute"
    world.now += REFRESH_S
    world.api.secrets, later = None, world.api.secrets
    await world.keys.refresh()
    assert world.keys(REF) == "one"
    world.api.secrets = later
    await world.keys.refresh()
    assert world.keys(REF) == "two"


async def test_a_key_that_is_not_there_yet_is_looked_for_and_one_nobody_needs_is_forgotten() -> (
    None
):
    world = World()
    world.keys(REF)
    await world.keys.refresh()
    assert world.keys(REF) is None
    world.api.secrets = {"chat": holding("one")}
    await world.keys.refresh()
    assert world.keys(REF) == "one"
    world.now += FORGET_S + 1
    await world.keys.refresh()
    assert (world.keys(REF), world.keys(OTHER)) == (None, None)


@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"data": None},
        {"data": {"key": 5}},
        {"data": {"key": "%"}},
        holding(""),
        holding(" \n"),
        holding("\u00e4"),
        holding("a\x01b"),
    ],
)
def test_what_holds_no_key_is_none(secret: dict[str, Any]) -> None:
    assert key_in(secret) is None


@given(st.binary(max_size=40))
def test_whatever_a_secret_holds_becomes_a_header_or_nothing(data: bytes) -> None:
    found = key_in({"data": {"key": base64.b64encode(data).decode()}})
    assert found is None or (found.isascii() and found.isprintable() and found)

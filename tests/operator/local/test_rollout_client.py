"""Finding the `pagelet up` that serves a model among all of this user's."""

import pytest

from pagelet_operator.api.rollout_text import RolloutError
from pagelet_operator.local.control import SOCKET, listening
from pagelet_operator.local.rollout_client import LocalRollouts, serving


def handler(*names):
    async def handle(name, command):
        if name not in names:
            raise RolloutError(f"no model {name!r} here; there are: {', '.join(names)}")
        return {"who": names[0], "command": command}

    return handle


def folder(tmp_path, name):
    made = tmp_path / "pagelet" / f"up-{name}"
    made.mkdir(parents=True)
    return made


async def test_the_one_that_has_the_model_is_asked(tmp_path):
    one, two = folder(tmp_path, "1"), folder(tmp_path, "2")
    env = {"XDG_STATE_HOME": str(tmp_path)}
    async with listening(one, handler("chat")), listening(two, handler("code")):
        found = await serving("code", env)
        assert (await found.status("code"))["who"] == "code"
        await found.give("code", "pause/1")
        assert await serving("absent", env) is None


async def test_two_that_have_it_are_named_and_neither_is_asked(tmp_path):
    one, two = folder(tmp_path, "1"), folder(tmp_path, "2")
    async with listening(one, handler("chat")), listening(two, handler("chat")):
        with pytest.raises(RolloutError, match="--state-dir"):
            await serving("chat", {"XDG_STATE_HOME": str(tmp_path)})


async def test_one_that_was_killed_and_left_its_socket_is_passed_over(tmp_path):
    (folder(tmp_path, "1") / SOCKET).write_text("")
    assert await serving("chat", {"XDG_STATE_HOME": str(tmp_path)}) is None


async def test_nobody_there_is_one_sentence(tmp_path):
    with pytest.raises(RolloutError, match="no `pagelet up` answers"):
        await LocalRollouts(tmp_path).status("chat")

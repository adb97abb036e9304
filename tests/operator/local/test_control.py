"""The control socket: what it answers, to whom, and what it makes of nonsense."""

import asyncio
import json
import stat

import pytest

from pagelet_operator.api.rollout_text import RolloutError
from pagelet_operator.local.control import SOCKET, ask, listening


async def echo(name, command):
    if name == "nobody":
        raise RolloutError("no model 'nobody' here; there are: chat")
    return {"name": name, "command": command}


async def raw(path, line):
    reader, writer = await asyncio.open_unix_connection(str(path / SOCKET))
    writer.write(line)
    try:
        return json.loads(await reader.readline())
    finally:
        writer.close()


async def test_a_question_and_a_command_reach_the_handler(tmp_path):
    async with listening(tmp_path, echo):
        assert await ask(tmp_path, "chat") == {"name": "chat", "command": None}
        assert await ask(tmp_path, "chat", "pause/1") == {"name": "chat", "command": "pause/1"}


async def test_an_unknown_model_is_refused_with_the_names_there_are(tmp_path):
    async with listening(tmp_path, echo):
        with pytest.raises(RolloutError, match="there are: chat"):
            await ask(tmp_path, "nobody")


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b'"chat"\n', b"\xff\xfe\n"])
async def test_nonsense_gets_a_sentence_and_harms_nobody(tmp_path, line):
    async with listening(tmp_path, echo):
        assert "one line of JSON" in (await raw(tmp_path, line))["error"]
        assert (await ask(tmp_path, "chat"))["name"] == "chat"


async def test_only_its_user_may_connect_and_it_is_gone_in_the_end(tmp_path):
    async with listening(tmp_path, echo):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600
    assert not (tmp_path / SOCKET).exists()
    with pytest.raises(OSError, match="No such file"):
        await ask(tmp_path, "chat")


async def test_a_socket_that_was_left_behind_is_replaced(tmp_path):
    (tmp_path / SOCKET).write_text("")
    async with listening(tmp_path, echo):
        assert (await ask(tmp_path, "chat"))["name"] == "chat"


async def test_a_folder_with_a_name_beyond_the_systems_limit_works(tmp_path):
    deep = tmp_path / ("long" * 40)
    deep.mkdir()
    async with listening(deep, echo):
        assert (await ask(deep, "chat"))["name"] == "chat"

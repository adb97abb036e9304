"""Key files: their content gets into the table, and a change of one is a change of the table."""

import json
import os

import structlog

from pagelet_gateway.core.table_parser import parse
from pagelet_gateway.sources.file import FileSource
from pagelet_gateway.sources.key_files import KeyFiles


def table(**fields):
    model = {"name": "m", "resource": "d/m", "generation": 1, "revisions": [], **fields}
    return json.dumps({"schemaVersion": 1, "models": [model]}).encode()


def replace(path, text):
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def test_both_kinds_of_files_are_filled_in(tmp_path):
    (tmp_path / "gate").write_text("gate-key\n")
    (tmp_path / "up").write_text("up-key")
    link = {"url": "https://h/v1", "urlModel": "m", "apiKeyFile": str(tmp_path / "up")}
    files = KeyFiles()
    filled = files.fill(table(gatewayKeyFile=str(tmp_path / "gate"), fallback=[link]))
    route = parse(filled).models["m"]
    assert (route.gateway_key, route.fallback[0].api_key) == ("gate-key", "up-key")
    assert files.paths == (tmp_path / "gate", tmp_path / "up")


def test_a_table_without_key_files_or_that_is_none_is_left_as_it_is():
    for raw in (table(), b"{", b"[]", b'{"gatewayKeyFile": 1', b'{"models": "gatewayKeyFile"}'):
        assert KeyFiles().fill(raw) in (raw, json.loads(raw) if raw[-1:] == b"}" else raw)


def test_a_file_that_is_gone_keeps_its_key_and_says_so(tmp_path):
    path = tmp_path / "gate"
    path.write_text("gate-key")
    files, raw = KeyFiles(), table(gatewayKeyFile=str(path))
    files.fill(raw)
    path.unlink()
    with structlog.testing.capture_logs() as said:
        assert parse(files.fill(raw)).models["m"].gateway_key == "gate-key"
    assert [entry["event"] for entry in said] == ["key file cannot be read"]
    assert "gate-key" not in str(said)


def test_a_new_key_is_delivered_though_the_table_is_the_same(tmp_path):
    got, path = [], tmp_path / "gate"
    path.write_text("one")
    (tmp_path / "routes.json").write_bytes(table(gatewayKeyFile=str(path)))
    source = FileSource(tmp_path / "routes.json", lambda found: got.append(found) is None)
    source.poll()
    source.poll()
    replace(path, "two")
    source.poll()
    source.poll()
    assert [parse(found).models["m"].gateway_key for found in got] == ["one", "two"]

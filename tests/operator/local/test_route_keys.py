"""Keys of routes on one machine: private, never in the table, and what is missing is said."""

import json
import stat

from pagelet_operator.local.route_file import RouteFile
from pagelet_operator.local.route_keys import RouteKeys, write_private

ROUTE = {
    "name": "chat",
    "resource": "ns/chat",
    "revisions": [],
    "tenants": [{"name": "a", "apiKeySecretRef": {"name": "keys", "key": "a"}}],
    "fallback": [{"url": "https://h/v1", "urlModel": "m",
                  "apiKeySecretRef": {"name": "keys", "key": "up"}}],
}  # fmt: skip


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_table_holds_hashes_and_paths_and_no_key(tmp_path):
    keys = RouteKeys(tmp_path)
    keys.make_gateway_key(b"gateway-key-of-this-run")
    keys.use({("ns", "keys"): {"a": b"tenant-key", "up": b"upstream-key"}})
    file = RouteFile(tmp_path / "routes.json", keys)
    file.publish({1: ROUTE})
    text = file.path.read_text()
    assert not any(key in text for key in ("tenant-key", "upstream-key", "gateway-key-of-this-run"))
    (model,) = json.loads(text)["models"]
    assert len(model["tenants"][0]["keys"]) == 1
    assert model["gatewayKeyFile"] == str(keys.gateway_key_file)
    assert mode(keys.gateway_key_file) == 0o600
    assert keys.troubles == {"ns/chat": ()}


def test_a_changed_secret_makes_another_table_or_another_file(tmp_path):
    keys, path = RouteKeys(tmp_path), tmp_path / "routes.json"
    file = RouteFile(path, keys)
    keys.use({("ns", "keys"): {"a": b"one", "up": b"one"}})
    assert file.publish({1: ROUTE})
    (link,) = json.loads(path.read_text())["models"][0]["fallback"]
    keys.use({("ns", "keys"): {"a": b"one", "up": b"two"}})
    assert not file.publish({1: ROUTE})
    with open(link["apiKeyFile"], encoding="utf-8") as found:
        assert found.read() == "two"
    keys.use({("ns", "keys"): {"a": b"two", "up": b"two"}})
    assert file.publish({1: ROUTE})


def test_a_secret_of_another_namespace_is_none(tmp_path):
    keys = RouteKeys(tmp_path)
    keys.use({("theirs", "keys"): {"a": b"one", "up": b"one"}})
    filled = keys.fill(ROUTE)
    assert (filled["tenants"][0]["keys"], filled["fallback"]) == ([], [])
    assert keys.troubles["ns/chat"] == (
        "tenant 'a': Secret 'keys' does not exist",
        "fallback https://h/v1: Secret 'keys' does not exist",
    )


def test_a_private_file_is_private_whatever_was_there_before(tmp_path):
    path = tmp_path / "folder" / "key"
    write_private(path, b"one")
    assert mode(path.parent) == 0o700
    path.chmod(0o644)
    path.with_name("key.new").write_text("left by a crash")
    write_private(path, b"two")
    assert (path.read_bytes(), mode(path)) == (b"two", 0o600)

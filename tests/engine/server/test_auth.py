"""Who a key belongs to, and what a changed or broken key file does."""

import hashlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pagelet_engine.config import EngineConfig
from pagelet_engine.engine_client import engine_command
from pagelet_engine.errors import ConfigError
from pagelet_engine.server import auth
from pagelet_engine.server.auth import (
    ANONYMOUS,
    RELOAD_EVERY_S,
    Caller,
    KeyRing,
    as_tenant,
    cache_salt,
    parse_keys,
)
from server_client import request
from server_process import echo_server

KEY, OTHER = "sk-a-long-enough-key", "sk-another-such-key-"


def sha256(key):
    return hashlib.sha256(key.encode()).hexdigest()


def json_file(*entries):
    return json.dumps({"keys": list(entries)})


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ring(tmp_path, clock):
    """Make a key ring over a file with this text, and say how to change it."""
    path = tmp_path / "keys"

    def made(text):
        path.write_text(text)
        return KeyRing(path, None, clock=clock), path

    return made


def test_a_line_is_a_key_and_a_tenant_of_its_own(ring):
    keys, _ = ring(f"# staff\n{KEY}\n\n  {OTHER}  \n")
    first, second = keys.identify(KEY), keys.identify(OTHER)
    assert first.tenant == f"key-{sha256(KEY)[:8]}"
    assert first.tenant != second.tenant
    assert first.scopes == {"api"}
    assert not first.is_gateway


def test_json_says_tenant_weight_priority_and_scopes(ring):
    keys, _ = ring(
        json_file(
            {"sha256": sha256(KEY).upper(), "tenant": "a", "weight": 2.5, "priority": -1},
            {"key": OTHER, "tenant": "b", "scopes": ["api", "admin"]},
        )
    )
    assert keys.identify(KEY) == Caller("a", 2.5, -1)
    assert keys.identify(OTHER).scopes == {"api", "admin"}


@pytest.mark.parametrize("wrong", [None, "", "x", KEY[:-1], KEY + "x", KEY.upper(), "\udcff", "#"])
def test_nobody_else_is_anybody(ring, wrong):
    assert ring(f"# {KEY}#\n{KEY}")[0].identify(wrong) is None


@given(st.text())
def test_no_text_opens_what_it_is_no_key_of(text):
    digests = parse_keys(json_file({"sha256": sha256(KEY), "tenant": "a"}))
    assert (hashlib.sha256(text.encode()).digest() in digests) is (text == KEY)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("short", "5 characters"),
        ("{", "not what it should be"),
        (json_file({"tenant": "a"}), "one of sha256 and key"),
        (json_file({"tenant": "a", "key": KEY, "sha256": sha256(KEY)}), "one of sha256 and key"),
        (json_file({"tenant": "a", "sha256": "abc"}), "64 hex digits"),
        (json_file({"tenant": "a b", "key": KEY}), "tenant must be"),
        (json_file({"tenant": "a", "key": KEY, "cache_group": "b c"}), "cache_group must be"),
        (json_file({"tenant": "a", "key": KEY, "weight": 0}), "weight is 0"),
        (json_file({"tenant": "a", "key": KEY, "weight": "1"}), "not what it should be"),
        (json_file({"tenant": "a", "key": KEY, "scopes": ["root"]}), "'root'"),
        (json_file({"tenant": "a", "key": KEY, "scope": []}), "unknown field"),
        (json_file({"tenant": "a", "key": KEY}, {"tenant": "b", "key": KEY}), "twice"),
    ],
)
def test_a_broken_file_is_refused_without_repeating_a_key(text, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        parse_keys(text)
    assert KEY not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="absent"):
        KeyRing(tmp_path / "absent", None)


def test_a_changed_file_counts_a_second_later(ring, clock):
    keys, path = ring(KEY)
    path.write_text(OTHER + "x")
    assert keys.identify(KEY)
    clock.now += RELOAD_EVERY_S
    assert keys.identify(KEY) is None
    assert keys.identify(OTHER + "x")


def test_a_file_replaced_by_another_of_the_same_size_and_time_counts(ring, clock, tmp_path):
    keys, path = ring(KEY)
    new = tmp_path / "new"
    new.write_text(OTHER)
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.replace(path)
    clock.now += RELOAD_EVERY_S
    assert keys.identify(OTHER)
    assert keys.identify(KEY) is None


@pytest.mark.parametrize("broken", ["{", "short", None])
def test_a_file_that_breaks_changes_nothing_and_is_complained_about(ring, clock, broken):
    keys, path = ring(KEY)
    path.unlink() if broken is None else path.write_text(broken)
    clock.now += RELOAD_EVERY_S
    with capture_logs() as logs:
        assert keys.identify(KEY)
    assert logs[0]["event"] == "keys_kept"


def test_an_emptied_file_revokes_every_key(ring, clock):
    keys, path = ring(KEY)
    path.write_text("")
    clock.now += RELOAD_EVERY_S
    assert keys.identify(KEY) is None
    assert not keys.is_open


def test_every_key_is_compared_in_constant_time_whether_one_has_matched_or_not(ring, monkeypatch):
    """What compares must be the function that takes as long for a near miss as for a hit."""
    compared = []

    class Hmac:
        def compare_digest(self, known, given):
            compared.append((known, given))
            return known == given

    monkeypatch.setattr(auth, "hmac", Hmac())
    keys, _ = ring(f"{KEY}\n{OTHER}")
    known = {hashlib.sha256(key.encode()).digest() for key in (KEY, OTHER)}
    for given_key, is_known in ((KEY, True), (OTHER, True), (KEY + "x", False)):
        compared.clear()
        assert (keys.identify(given_key) is not None) is is_known
        digest = hashlib.sha256(given_key.encode()).digest()
        assert len(compared) == len(known)
        assert set(compared) == {(one, digest) for one in known}


def test_without_any_file_everybody_is_anonymous():
    assert KeyRing(None, None).identify(None) is ANONYMOUS


def test_the_gateways_key_alone_closes_the_server_and_makes_its_word_count(tmp_path):
    path = tmp_path / "gateway"
    path.write_text(KEY + "\n")
    keys = KeyRing(None, path)
    assert keys.identify(None) is None
    gateway = keys.identify(OTHER, KEY)
    assert gateway.is_gateway
    assert as_tenant(gateway, "team-a").tenant == "team-a"
    assert as_tenant(gateway, "team a\n").tenant == "gateway"
    assert as_tenant(Caller("b"), "team-a").tenant == "b"


def test_salts_differ_by_tenant_and_by_secret():
    salts = {cache_salt(s, Caller(t)) for s in (b"1", b"2") for t in ("a", "b")}
    assert len(salts) == 4
    assert cache_salt(b"1", Caller("a")) == cache_salt(b"1", Caller("a", 2.0, 1))


def test_a_group_shares_a_salt_that_no_tenant_and_no_other_group_has():
    first, second = Caller("a", cache_group="g"), Caller("b", cache_group="g")
    assert cache_salt(b"1", first) == cache_salt(b"1", second)
    others = [Caller("g"), Caller("a"), Caller("b"), Caller("a", cache_group="h")]
    assert len({cache_salt(b"1", caller) for caller in (first, *others)}) == 5


def test_who_a_gateway_speaks_for_is_in_no_group_of_its_keys():
    gateway = Caller("gateway", is_gateway=True, cache_group="g")
    assert as_tenant(gateway, "team-a").cache_group is None


GROUPED = {"one": "team-1", "two": "team-2", "three": "team-3", "four": "shared", "again": "team-1"}


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """An engine with two tenants of one group, one alone, and one named like the group."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    entries = [
        {"key": KEY + name, "tenant": tenant}
        | ({"cache_group": "shared"} if tenant in ("team-1", "team-2") else {})
        for name, tenant in GROUPED.items()
    ]
    path.write_text(json_file(*entries))
    model = {"model": "dummy://tiny", "served_model_name": "m", "num_threads": 1}
    command = engine_command(EngineConfig(**model))
    with echo_server(model=model, listen={"api_keys_file": str(path)}, command=command) as server:
        yield server.wait_ready()


def test_tenants_of_a_group_find_each_others_prefixes_and_nobody_else_does(grouped):
    cached = {}
    for name in GROUPED:
        headers = {"authorization": f"Bearer {KEY + name}"}
        asked = {"model": "m", "prompt": "once upon a time " * 8, "max_tokens": 1}
        reply = request(grouped, "POST", "/v1/completions", asked, headers=headers)
        cached[name] = reply.json["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached["one"] == cached["three"] == cached["four"] == 0
    assert cached["two"] == cached["again"] > 0

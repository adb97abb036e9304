"""A Secret means the same on one machine and on a cluster, down to the sentence."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.assembly import assemble
from pagelet_gateway.core.cluster import Resource
from pagelet_gateway.core.key_material import KeyRef, Purpose, SecretRef, read
from pagelet_gateway.core.table_parser import parse
from pagelet_operator.local.route_keys import RouteKeys

contents = st.none() | st.dictionaries(
    st.sampled_from(["a", "b", "up"]),
    st.binary(max_size=6)
    | st.lists(st.sampled_from(["key-1", "key-2", "é", ""]), max_size=3).map(
        lambda lines: "\n".join(lines).encode()
    ),
    max_size=3,
)
TRAFFIC = {
    "name": "chat",
    "resource": "ns/chat",
    "generation": 1,
    "revisions": [],
    "tenants": [
        {"name": name, "apiKeySecretRef": {"name": "keys", "key": name}} for name in ("a", "b")
    ],
    "fallback": [
        {
            "url": "https://host/v1",
            "urlModel": "m",
            "apiKeySecretRef": {"name": "keys", "key": "up"},
        }
    ],
}
REFS = [
    KeyRef(SecretRef("ns", "keys"), key, purpose)
    for key, purpose in (("a", Purpose.TENANT), ("b", Purpose.TENANT), ("up", Purpose.SHOWN))
]


@given(contents, contents)
def test_one_machine_and_a_cluster_understand_a_secret_alike(tmp_path_factory, first, then):
    local = RouteKeys(tmp_path_factory.mktemp("state"))
    keys = {}
    for content in (first, then):
        keys = {ref: read(ref, content, keys.get(ref)) for ref in REFS}
        local.use({} if content is None else {("ns", "keys"): content})
    here = local.fill(TRAFFIC)
    for link in here["fallback"]:
        path = link.pop("apiKeyFile")
        with open(path, encoding="utf-8") as file:
            link["apiKey"] = file.read()
    resource = Resource("uid", "ns", "chat", "2026-01-01T00:00:00Z", TRAFFIC)
    there = assemble([resource], [], keys)
    assert parse({"schemaVersion": 1, "models": [here]}) == there.table
    assert local.troubles["ns/chat"] == there.problems.get("ns/chat", ())

"""An API server in memory, at the seam of the client: for tests that need thousands of looks.

It keeps what the operator relies on: resource versions and their conflicts, generations that
follow the spec alone, status apart from the rest, server-side apply by one manager, deletion by
uid with the garbage collector at once, and pods for Deployments. It validates nothing.
"""

import copy
import itertools
import json
import re
from typing import Any
from urllib.parse import parse_qs

Object = dict[str, Any]
Key = tuple[str, str, str]
"""Plural, namespace, name."""

_PATH = re.compile(
    r"^/apis?/(?P<group>v1|[^/]+/[^/]+)/namespaces/(?P<namespace>[^/]+)/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?P<status>/status)?$"
)


class Store:
    """Objects by kind and name; `request` as an administrator, `StoreClient` as a program."""

    def __init__(self) -> None:
        self.items: dict[Key, Object] = {}
        self._applied: dict[Key, Object] = {}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)

    def get(self, path: str) -> Any:
        """Return the object or list at `path`; fails the test if it is not there."""
        status, body = self.request("GET", path)
        assert status == 200, body
        return body

    def request(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json"
    ) -> tuple[int, Any]:
        """Answer one request as the server would."""
        path, _, query = path.partition("?")
        found = _PATH.match(path)
        assert found is not None, f"{path} is no namespaced path"
        key = (found["plural"], found["namespace"], found["name"] or "")
        if method == "GET":
            selector = parse_qs(query).get("labelSelector", [""])[0]
            return self._read(key, selector)
        if method == "POST":
            return self._create((*key[:2], body["metadata"]["name"]), body)
        if method == "PATCH" and "apply" in kind:
            return 200, self._apply(key, body)
        if key not in self.items:
            return 404, {"message": f"{path} not found"}
        if method == "DELETE":
            return self._delete(key, body or {})
        if method == "PUT":
            return self._replace_status(key, body)
        return 200, self._merge(key, body, only_status=found["status"] is not None)

    def _read(self, key: Key, selector: str) -> tuple[int, Any]:
        if key[2]:
            item = self.items.get(key)
            return (200, copy.deepcopy(item)) if item else (404, {"message": f"{key} not found"})
        wanted = dict(part.split("=") for part in selector.split(",") if part)
        found = [
            copy.deepcopy(item)
            for (plural, namespace, _), item in self.items.items()
            if (plural, namespace) == key[:2]
            and wanted.items() <= item["metadata"].get("labels", {}).items()
        ]
        return 200, {"metadata": {}, "items": found}

    def _create(self, key: Key, body: Object) -> tuple[int, Any]:
        if key in self.items:
            return 409, {"message": f"{key} already exists"}
        item = copy.deepcopy(body)
        item["metadata"] |= {
            "namespace": key[1],
            "uid": f"{next(self._uids):04x}-0",
            "generation": 1,
        }
        return 201, self._put(key, item)

    def _apply(self, key: Key, body: Object) -> Object:
        if key not in self.items:
            self._applied[key] = copy.deepcopy(body)
            return self._create(key, body)[1]  # type: ignore[no-any-return]
        item = copy.deepcopy(self.items[key])
        _remove(item, self._applied.get(key, {}), body)
        _merge(item, body)
        self._applied[key] = copy.deepcopy(body)
        return self._put(key, item)

    def _merge(self, key: Key, body: Object, *, only_status: bool) -> Object:
        item = copy.deepcopy(self.items[key])
        changes = {k: v for k, v in body.items() if (k == "status") is only_status}
        _merge(item, changes)
        return self._put(key, item)

    def _replace_status(self, key: Key, body: Object) -> tuple[int, Any]:
        item = copy.deepcopy(self.items[key])
        if body["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            return 409, {"message": f"{key} changed since it was read"}
        item["status"] = copy.deepcopy(body["status"])
        return 200, self._put(key, item)

    def _put(self, key: Key, item: Object) -> Object:
        old = self.items.get(key)
        if old != item:
            if old is not None and old.get("spec") != item.get("spec"):
                item["metadata"]["generation"] += 1
            item["metadata"]["resourceVersion"] = str(next(self._versions))
            self.items[key] = item
            if key[0] == "deployments":
                self._make_pods(key)
        return copy.deepcopy(self.items[key])

    def _delete(self, key: Key, options: Object) -> tuple[int, Any]:
        uid = options.get("preconditions", {}).get("uid")
        meta = self.items[key]["metadata"]
        if uid is not None and uid != meta["uid"]:
            return 409, {"message": f"{key} has another uid"}
        self._collect(key)
        return 200, {}

    def _collect(self, key: Key) -> None:
        uid = self.items.pop(key)["metadata"]["uid"]
        self._applied.pop(key, None)
        for other, item in list(self.items.items()):
            owners = item["metadata"].get("ownerReferences", ())
            if other in self.items and any(owner["uid"] == uid for owner in owners):
                self._collect(other)

    def _make_pods(self, key: Key) -> None:
        """Do what the controllers of Deployments and ReplicaSets do."""
        item = self.items[key]
        template = item["spec"]["template"]
        made = [pod for pod in self.items if pod[0] == "pods" and self._is_of(pod, key)]
        while len(made) > item["spec"]["replicas"]:
            # Of equals the youngest, as a ReplicaSet does.
            gone = min(reversed(made), key=lambda pod: _deletion_cost(self.items[pod]))
            made.remove(gone)
            del self.items[gone]
        for number in itertools.count():
            if len(made) >= item["spec"]["replicas"]:
                return
            pod: Key = ("pods", key[1], f"{key[2]}-rs-{number}")
            if pod not in self.items:
                owner = {"kind": "ReplicaSet", "name": f"{key[2]}-rs", "controller": True}
                self._create(pod, {
                    "metadata": {
                        "name": pod[2], "labels": template["metadata"]["labels"],
                        "ownerReferences": [owner | {"uid": item["metadata"]["uid"]}],
                    },
                    "spec": copy.deepcopy(template["spec"]),
                })  # fmt: skip
                made.append(pod)

    def _is_of(self, pod: Key, deployment: Key) -> bool:
        return pod[1] == deployment[1] and pod[2].startswith(f"{deployment[2]}-rs-")


def _deletion_cost(pod: Object) -> int:
    annotations = pod["metadata"].get("annotations", {})
    return int(annotations.get("controller.kubernetes.io/pod-deletion-cost", 0))


class StoreClient:
    """Stands where the official client stands: what it is asked, the store answers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def param_serialize(self, **asked: Any) -> tuple[Any, ...]:
        query = "&".join(f"{key}={value}" for key, value in asked["query_params"])
        path = f"{asked['resource_path']}?{query}"
        return asked["method"], path, asked["header_params"], asked["body"]

    async def call_api(self, method: str, path: str, headers: Any, body: Any, **_: Any) -> "Answer":
        return Answer(*self._store.request(method, path, body, kind=headers["Content-Type"]))


class Answer:
    """As much of an HTTP answer as the operator reads."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self._body = status, body
        self.headers: dict[str, str] = {}

    async def read(self) -> bytes:
        return json.dumps(self._body).encode()


def _merge(into: Object, changes: Object) -> None:
    """Merge as RFC 7396 does."""
    for key, value in changes.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)


def _remove(item: Object, before: Object, now: Object) -> None:
    """Remove the fields that the manager applied before and no longer wants."""
    for key, value in before.items():
        if key not in now:
            item.pop(key, None)
        elif isinstance(value, dict) and isinstance(now[key], dict):
            _remove(item.get(key, {}), value, now[key])

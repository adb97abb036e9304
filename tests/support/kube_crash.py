"""Kill the operator at one of its writes, start another, and see where they end.

A `Life` follows one resource through a scenario. Its operator is everything of a real one but
the process; when it is killed all that it remembered is gone, the next one starts a moment
later on what the API server holds. The clock moves only when the scenario or a restart says so.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from kubernetes.aio.client import ApiClient

from kube_cluster import Cluster
from kube_fixtures import IMAGE, MODELS
from kube_pods import make_ready
from kube_store import Store, StoreClient
from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import Api, ConflictError, load_configuration
from pagelet_operator.kube.loop import Controller
from pagelet_operator.kube.manifests import COMMAND_ANNOTATION
from pagelet_operator.kube.metrics import Metrics
from pagelet_operator.kube.runtime import KubeRuntime
from pagelet_operator.ports import UnavailableError

RESTART_S = 0.5
"""Between a kill and the next operator's first look, in the scenario's time."""

MAX_LOOKS = 20
"""Looks without a change of the world after which the operator surely writes no more."""

MERGE = "application/merge-patch+json"

CHILDREN = ("apis/apps/v1/{}/deployments", "apis/apps/v1/{}/controllerrevisions",
            "api/v1/{}/services", "api/v1/{}/secrets")  # fmt: skip


class Moment(StrEnum):
    """When the operator dies, relative to a write."""

    BEFORE = "before it is sent"
    DURING = "carried out, not answered"
    AFTER = "answered, before the next call"


@dataclass(frozen=True)
class Point:
    """One death: at which write of the scenario, counted from 1, and when."""

    write: int
    moment: Moment


class Killed(BaseException):
    """The operator's process is gone: nothing of it may catch this."""


class CrashingClient:
    """Passes calls on to a client until the point has come; from then on nothing gets out."""

    def __init__(self, client: Any, count: Callable[[], int], point: Point | None) -> None:
        self._client, self._count, self._point = client, count, point
        self._dead = False

    async def param_serialize(self, **asked: Any) -> Any:
        return await self._client.param_serialize(**asked)

    async def call_api(self, *request: Any, **options: Any) -> Any:
        if self._dead:
            raise Killed
        here = self._point if request[0] != "GET" and self._is_here() else None
        if here is not None and here.moment is Moment.BEFORE:
            self._die()
        answer = await self._client.call_api(*request, **options)
        if here is not None and here.moment is Moment.DURING:
            await answer.read()
            self._die()
        self._dead = self._dead or here is not None
        return answer

    def _is_here(self) -> bool:
        write = self._count()
        return self._point is not None and write == self._point.write

    def _die(self) -> None:
        self._dead = True
        raise Killed


class Place(Protocol):
    """An API server, real or in memory."""

    def request(
        self, method: str, path: str, body: Any = None, *, kind: str = ...
    ) -> tuple[int, Any]: ...

    def get(self, path: str) -> Any: ...


Open = Callable[[], AbstractAsyncContextManager[Any]]


@asynccontextmanager
async def store_client(store: Store) -> AsyncIterator[StoreClient]:
    yield StoreClient(store)


@asynccontextmanager
async def cluster_client(cluster: Cluster) -> AsyncIterator[ApiClient]:
    async with ApiClient(await load_configuration(str(cluster.operator_kubeconfig))) as client:
        yield client


class Life:
    """One resource, one operator after another."""

    def __init__(self, place: Place, open_client: Open, namespace: str) -> None:
        self.place, self.ref = place, ModelRef(namespace, "chat")
        self.now = 1_800_000_000.0
        self.writes = 0
        """Writes since `watch`; those of a prelude do not count."""
        self.deaths = 0
        self._open = open_client
        self._point: Point | None = None
        self._counting = False
        self._timers: dict[tuple[Any, ...], str] = {}

    @property
    def path(self) -> str:
        return f"{MODELS.format(self.ref.namespace)}/{self.ref.name}"

    def watch(self, point: Point | None) -> None:
        """Count writes from here on, and die at `point`."""
        self._point, self._counting = point, True

    def create(self, spec: dict[str, Any]) -> None:
        self._ask("POST", self.path.rpartition("/")[0], {
            "apiVersion": "pagelet.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"name": self.ref.name}, "spec": spec,
        })  # fmt: skip

    def change(self, spec: dict[str, Any]) -> None:
        self._ask("PATCH", self.path, {"spec": spec}, kind=MERGE)

    def command(self, text: str) -> None:
        """Say something to the rollout, as `pagelet rollout` does."""
        annotations = {COMMAND_ANNOTATION: text}
        self._ask("PATCH", self.path, {"metadata": {"annotations": annotations}}, kind=MERGE)

    def delete(self) -> None:
        self._ask("DELETE", self.path, {"propagationPolicy": "Background"})

    def ready(self, revision: str, count: int = 1) -> None:
        make_ready(self.place, self.ref.namespace, revision, count)

    def status(self) -> dict[str, Any]:
        code, found = self.place.request("GET", self.path)
        return found.get("status", {}) if code == 200 else {}

    def phase(self) -> str | None:
        return (self.status().get("rollout") or {}).get("phase")

    def canary(self) -> str:
        return str(self.status()["rollout"]["canary"])

    async def settle(self) -> None:
        """Look until nothing is left to write, however many operators that takes."""
        for _ in range(3):  # One dies at most; the last look of a healthy one ends it.
            try:
                async with self._open() as client:
                    await self._look_until_quiet(CrashingClient(client, self._wrote, self._point))
                return
            except Killed:
                self.deaths += 1
                self.now += RESTART_S
        raise AssertionError("the operator died more often than it was killed")

    async def _look_until_quiet(self, client: CrashingClient) -> None:
        api = Api(client)
        runtime = KubeRuntime(api, engine_image=IMAGE)
        controller = Controller(api, runtime, Metrics(), clock=lambda: self.now)
        for _ in range(MAX_LOOKS):
            before = self._versions()
            try:
                await controller.reconcile(self.ref)
            except (ConflictError, UnavailableError):
                continue  # As the loop would: read again.
            finally:
                self._check(self.status())
            if self._versions() == before:
                return
        raise AssertionError("the operator never came to rest")

    def _wrote(self) -> int:
        self.writes += self._counting
        return self.writes if self._counting else 0

    def _check(self, status: dict[str, Any]) -> None:
        """What holds at every moment that a user could look."""
        weights = {r["name"]: r["weight"] for r in status.get("traffic", {}).get("revisions", ())}
        assert sum(weights.values()) in (0, 100), weights
        for name, weight in weights.items():
            path = f"/api/v1/namespaces/{self.ref.namespace}/pods"
            pods = self.place.get(f"{path}?labelSelector=pagelet.dev/revision={name}")["items"]
            assert not weight or any("podIP" in pod.get("status", {}) for pod in pods), name
        self._check_timers(status.get("rollout") or {})

    def _check_timers(self, rollout: dict[str, Any]) -> None:
        """A time that was once stored never starts anew for the same step or revision."""
        found: dict[tuple[Any, ...], str] = {}
        found |= {("kept", r["revision"]): r["until"] for r in rollout.get("retained", ())}
        if rollout.get("phase") == "Progressing" and "paused" not in rollout:
            # A resume moves the step's time by the length of the pause, once.
            resumed = (rollout.get("command") or {}).get("token")
            step = rollout["stable"], rollout["canary"], rollout["step"], resumed
            found["step", *step] = rollout["stepStartedAt"]
        for timer, at in found.items():
            assert self._timers.get(timer, at) == at, (timer, at)
        self._timers = found

    def _versions(self) -> dict[str, str]:
        return {
            f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
            for item in self._objects()
        }

    def end_state(self) -> str:
        """Everything the operator made and said, without times and what the server chose."""
        found = [_bare(item) for item in self._objects()]
        text = json.dumps(found, sort_keys=True, indent=1)
        return text.replace(f'"{self.ref}"', '"NAMESPACE/NAME"')

    def _objects(self) -> list[dict[str, Any]]:
        found = []
        for path in CHILDREN:
            at = path.format(f"namespaces/{self.ref.namespace}")
            listed = self.place.get(f"/{at}?labelSelector=pagelet.dev/model={self.ref.name}")
            found += [{"kind": path.rpartition("/")[2], **item} for item in listed["items"]]
        code, own = self.place.request("GET", self.path)
        return [*found, own] if code == 200 else found

    def _ask(self, method: str, path: str, body: Any, **options: Any) -> None:
        code, answer = self.place.request(method, path, body, **options)
        assert code in (200, 201, 202), answer


class Scenario(Protocol):
    """What happens to a resource, and what had happened before, undisturbed."""

    @property
    def ends(self) -> str | None: ...

    @property
    def prelude(self) -> Callable[[Life], Awaitable[None]]: ...

    @property
    def happens(self) -> Callable[[Life], Awaitable[None]]: ...


async def run(life: Life, scenario: Scenario, point: Point | None) -> Life:
    """Live through a scenario; the operator dies at the point, if there is one."""
    await scenario.prelude(life)
    life.watch(point)
    await scenario.happens(life)
    assert life.phase() == scenario.ends, life.status()
    return life


_CHOSEN = frozenset({
    "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation",
    "clusterIP", "clusterIPs", "lastTransitionTime", "stepStartedAt", "unreadySince", "until",
    "data", "stringData", "deployment.kubernetes.io/revision",
})  # fmt: skip
"""Fields that the server chooses, that tell a time, or that are drawn at random."""


def _bare(item: Any) -> Any:
    if isinstance(item, dict):
        told = item.get("kind") == "ModelDeployment"
        return {
            key: _bare(value)
            for key, value in item.items()
            # The status of a child is the cluster's word, and may come a moment later.
            if key not in _CHOSEN and (key != "status" or told or "kind" not in item)
        }
    return [_bare(each) for each in item] if isinstance(item, list) else item

"""What the cluster shows of one model: read complete or not at all, understood without a call."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pagelet_operator.core.model import Fleet, ModelRef, RevisionFleet, Role
from pagelet_operator.kube import manifests
from pagelet_operator.kube.api import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    MODEL_DEPLOYMENTS,
    PODS,
    SERVICES,
    Api,
    Kind,
    Object,
    owned_by,
)
from pagelet_operator.kube.manifests import (
    CONTAINER,
    ENGINE_PORT,
    REVISION_LABEL,
    ROLE_LABEL,
    Owner,
    selector,
)

CONFIGURATION_EXIT_CODE = 2
"""The engine's exit code for what no restart can mend; its last line says what it is."""

CHILDREN = (DEPLOYMENTS, SERVICES, CONTROLLER_REVISIONS)
"""Kinds a model owns, in the order of removal: replicas first, their description last."""


@dataclass(frozen=True, slots=True)
class World:
    """Live objects of one model. Only what its ModelDeployment owns, and pods of that."""

    owner: Owner | None
    """None when the ModelDeployment is gone or going."""
    children: Mapping[Kind, Mapping[str, Object]]
    """Owned objects by kind and name; those on their way out are left out."""
    pods: tuple[Object, ...]

    def live(self, kind: Kind, name: str) -> Object | None:
        """Return one owned object, or None."""
        return self.children[kind].get(name)

    def fleet(self) -> Fleet:
        """Return every revision whose making is known, with its replicas and ready endpoints."""
        names = dict.fromkeys((*self.children[CONTROLLER_REVISIONS], *self.children[DEPLOYMENTS]))
        found = ((name, self.snapshot(name)) for name in names)
        return Fleet({name: self._revision(name, data) for name, data in found if data})

    def pod_at(self, endpoint: str) -> Object | None:
        """Return the ready pod that answers at a base URL, or None."""
        return next((pod for pod in self.pods if _is_ready(pod) and _url(pod) == endpoint), None)

    def snapshot(self, name: str) -> Object | None:
        """Return what the revision was made from; its Deployment knows it, too."""
        stored = self.live(CONTROLLER_REVISIONS, name)
        if stored is not None:
            return dict(stored["data"])
        replicas = self.live(DEPLOYMENTS, name)
        return manifests.snapshot_of(replicas) if replicas else None

    def _revision(self, name: str, snapshot: Object) -> RevisionFleet:
        replicas = self.live(DEPLOYMENTS, name)
        pods = [pod for pod in self.pods if _belongs(pod, name)]
        return RevisionFleet(
            revision=name,
            template=snapshot["template"],
            replicas=replicas["spec"]["replicas"] if replicas else 0,
            endpoints=tuple(sorted(_url(pod) for pod in pods if _is_ready(pod))),
            role=_role(replicas),
            failure=next(filter(None, map(_failure, pods)), None),
            short=_quota(replicas) or next(filter(None, map(_unschedulable, pods)), None),
        )


async def read(api: Api, ref: ModelRef) -> World:
    """Read the ModelDeployment's identity and all its children.

    Raises:
        ApiUnavailableError: One of the lists did not arrive; nothing is concluded from the rest.
    """
    resource = await api.get(MODEL_DEPLOYMENTS, ref.namespace, ref.name)
    if resource is None or "deletionTimestamp" in resource["metadata"]:
        return World(None, {kind: {} for kind in CHILDREN}, ())
    owner = Owner(ref, resource["metadata"]["uid"])
    labels = selector(ref.name)
    *children, pods = await asyncio.gather(
        *(api.list(kind, ref.namespace, labels) for kind in (*CHILDREN, PODS))
    )
    owned = {kind: _owned(items, owner.uid) for kind, items in zip(CHILDREN, children, strict=True)}
    return World(owner, owned, tuple(pods))


def _role(replicas: Object | None) -> Role | None:
    label = replicas["metadata"].get("labels", {}).get(ROLE_LABEL) if replicas else None
    return Role(label) if label in set(Role) else None


def _owned(items: Iterable[Object], uid: str) -> dict[str, Object]:
    return {
        item["metadata"]["name"]: item
        for item in items
        if owned_by(item, uid) and "deletionTimestamp" not in item["metadata"]
    }


def _quota(replicas: Object | None) -> str | None:
    """Return what the server says of pods that it lets nobody create, such as a quota."""
    conditions = replicas.get("status", {}).get("conditions", ()) if replicas else ()
    return next(
        (
            str(item.get("message", ""))
            for item in conditions
            if item["type"] == "ReplicaFailure"
            and item["status"] == "True"
            # Other reasons, such as an admission policy, are not mended by fewer replicas.
            and "exceeded quota" in item.get("message", "")
        ),
        None,
    )


def _unschedulable(pod: Mapping[str, Any]) -> str | None:
    """Return the scheduler's sentence if no node has what the pod needs."""
    for item in pod.get("status", {}).get("conditions", ()):
        if item["type"] == "PodScheduled" and item["status"] == "False":
            said = str(item.get("message", ""))
            if item.get("reason") == "Unschedulable" and "Insufficient" in said:
                return said
    return None


def _belongs(pod: Mapping[str, Any], revision: str) -> bool:
    """Whether a Deployment of the revision made the pod; a label alone anybody can set."""
    meta = pod["metadata"]
    if meta["labels"].get(REVISION_LABEL) != revision:
        return False
    return any(
        owner["kind"] == "ReplicaSet" and owner["name"].startswith(f"{revision}-")
        for owner in meta.get("ownerReferences", ())
        if owner.get("controller")
    )


def _is_ready(pod: Mapping[str, Any]) -> bool:
    status = pod.get("status", {})
    ready = any(
        c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ())
    )
    # A pod that ends is still Ready for a moment, and must get no new request.
    return ready and bool(status.get("podIP")) and "deletionTimestamp" not in pod["metadata"]


def _url(pod: Mapping[str, Any]) -> str:
    address = pod["status"]["podIP"]
    return f"http://{f'[{address}]' if ':' in address else address}:{ENGINE_PORT}"


def _failure(pod: Mapping[str, Any]) -> str | None:
    """Return the engine's sentence if its configuration can never work."""
    for container in pod.get("status", {}).get("containerStatuses", ()):
        if container["name"] != CONTAINER or container.get("ready"):
            continue
        for state in (container.get("state", {}), container.get("lastState", {})):
            ended = state.get("terminated")
            if ended and ended.get("exitCode") == CONFIGURATION_EXIT_CODE:
                lines = str(ended.get("message", "")).strip().splitlines()
                return lines[-1] if lines else "the engine refuses its configuration"
    return None

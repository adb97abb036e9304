"""Replicas and traffic in a Kubernetes cluster: `ports.Runtime` by server-side apply."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pagelet_operator.core.model import (
    Fleet,
    Model,
    ModelRef,
    Plan,
    RevisionFleet,
    RevisionPlan,
    Role,
)
from pagelet_operator.kube import gateway_key, manifests
from pagelet_operator.kube.api import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    PODS,
    SERVICES,
    Api,
    ApiError,
    Kind,
    NoAnswerError,
    Object,
    RefusedError,
    owned_by,
)
from pagelet_operator.kube.drift import differs
from pagelet_operator.kube.manifests import REVISION_LABEL, Owner
from pagelet_operator.kube.pod_template import pod_template
from pagelet_operator.kube.world import CHILDREN, World, read
from pagelet_operator.ports import IncompleteError

Desired = list[tuple[Kind, Object]]


class NameTakenError(Exception):
    """An object that somebody else made has a name this model needs."""


class KubeRuntime:
    """Deployments, Services and snapshots of models, owned by their ModelDeployment.

    Traffic itself is published in the ModelDeployment's status, by the caller of `reconcile`.

    Attributes:
        writes: How many writes were sent since the start.
    """

    def __init__(self, api: Api, *, engine_image: str) -> None:
        """Use `engine_image` for revisions that name no image of their own."""
        self.writes = 0
        self._api = api
        self._engine_image = engine_image
        # What was observed last, so that `apply` compares with what was decided on.
        self._worlds: dict[ModelRef, World] = {}
        # Why objects of revisions could not be written at the last `apply`.
        self._refused: dict[ModelRef, Mapping[str, Exception]] = {}

    async def observe(self, ref: ModelRef) -> Fleet:
        """Return every revision of the model that exists, complete or not at all.

        Raises:
            UnavailableError: The API server did not answer.
        """
        world = await read(self._api, ref)
        self._worlds[ref] = world
        refused = self._refused.get(ref, {})
        return Fleet(
            {
                name: _with_refusal(seen, refused.get(name))
                for name, seen in world.fleet().revisions.items()
            }
        )

    async def apply(self, model: Model, plan: Plan) -> int:
        """Make the cluster as planned; 0 writes when it already is.

        Raises:
            NameTakenError: An object of somebody else is in the way; nothing was written.
            IncompleteError: Some objects could not be written; all others were. What the server
                says of a revision, the next `observe` says as well.
            UnavailableError: The API server did not answer.
        """
        world = self._worlds.pop(model.ref, None) or await read(self._api, model.ref)
        if world.owner is None:
            return 0  # Deleted meanwhile: the garbage collector removes what it owned.
        before = self.writes
        desired = self._desired(world.owner, model, plan, world)
        changed = [
            (kind, body)
            for kind, body in desired
            if _needs_apply(kind, body, world.live(kind, body["metadata"]["name"]))
        ]
        going = await self._check_names(world, changed)
        keys_made, trouble = await gateway_key.ensure(self._api, world.owner)
        self.writes += keys_made
        reluctant = await self._name_victims(plan, world)
        refused = await self._put_all(
            [
                (kind, body)
                for kind, body in changed
                if (kind, body["metadata"]["name"]) not in going
            ]
        )
        troubles = [*going.values(), *([trouble] if trouble else []), *reluctant]
        troubles += [str(error) for errors in refused.values() for error in errors]
        # Asked anew at every look, so what is refused no more is forgotten here.
        self._refused[model.ref] = {name: errors[0] for name, errors in refused.items()}
        if "" not in refused:  # Else the model's Service may still lead to what would go.
            planned = {(kind, body["metadata"]["name"]) for kind, body in desired}
            troubles += await self._remove(world, planned)
        if troubles:
            raise IncompleteError("; ".join(dict.fromkeys(troubles)))
        return self.writes - before

    def forget(self, ref: ModelRef) -> None:
        """Drop what is remembered of a model that is gone."""
        self._worlds.pop(ref, None)
        self._refused.pop(ref, None)

    def _desired(self, owner: Owner, model: Model, plan: Plan, world: World) -> Desired:
        desired: Desired = []
        for item in plan.revisions:
            if item.role is Role.RETIRED and world.live(DEPLOYMENTS, item.revision) is None:
                continue  # Nothing to keep warm, nor to drain.
            data = world.snapshot(item.revision) or self._snapshot(owner, item)
            stored = manifests.controller_revision(owner, item.revision, data, model.generation)
            desired += [
                (CONTROLLER_REVISIONS, stored),
                (DEPLOYMENTS, manifests.deployment(owner, item, data)),
                (SERVICES, manifests.revision_service(owner, item)),
            ]
        service = manifests.model_service(owner, plan)
        return [*desired, *([(SERVICES, service)] if service else [])]

    def _snapshot(self, owner: Owner, item: RevisionPlan) -> Object:
        pod = pod_template(owner.ref.name, item.revision, item.template, self._engine_image)
        return manifests.snapshot(item.template, pod)

    async def _check_names(self, world: World, changed: Desired) -> dict[tuple[Kind, str], str]:
        """Refuse to take over what is not ours: apply would silently merge into it.

        Returns:
            Objects that cannot be written yet, since a namesake is on its way out.
        """
        assert world.owner is not None
        going = {}
        for kind, body in changed:
            meta = body["metadata"]
            if world.live(kind, meta["name"]) is not None:
                continue
            found = await self._api.get(kind, meta["namespace"], meta["name"])
            # Ours, and not in the list: it lost its label, which applying puts back.
            if found is None or _is_ours(found, world.owner):
                continue
            if not _is_going(found, world.owner):
                raise NameTakenError(
                    f"{kind.kind} {meta['name']} exists and is not this ModelDeployment's; "
                    f"rename one of the two"
                )
            going[kind, meta["name"]] = f"{kind.kind} {meta['name']} is still being removed"
        return going

    async def _name_victims(self, plan: Plan, world: World) -> list[str]:
        """Tell the ReplicaSets which pods to end first; return what the server would not store."""
        troubles = []
        for item in plan.revisions:
            for rank, endpoint in enumerate(item.first_out):
                pod = world.pod_at(endpoint)
                cost = rank - len(item.first_out)
                if pod is None or manifests.deletion_cost_of(pod) == str(cost):
                    continue
                error = await self._put(PODS, manifests.deletion_cost(pod, cost))
                troubles += [str(error)] if error else []
        return troubles

    async def _put_all(self, changed: Desired) -> dict[str, list[Exception]]:
        """Apply objects; return what the server would not store, by revision ("" for none)."""
        refused: dict[str, list[Exception]] = {}
        for kind, body in changed:
            error = await self._put(kind, body)
            if error is not None:
                revision = body["metadata"]["labels"].get(REVISION_LABEL, "")
                refused.setdefault(revision, []).append(error)
        return refused

    async def _put(self, kind: Kind, body: Object) -> ApiError | None:
        """Apply one object; return why the server would not, if it would not."""
        try:
            await self._api.apply(kind, body)
        except NoAnswerError:
            raise  # The other objects would only wait for the same silence.
        except ApiError as error:
            return error
        self.writes += 1
        return None

    async def _remove(self, world: World, planned: set[tuple[Kind, str]]) -> list[str]:
        troubles = []
        for kind in CHILDREN:
            for name, item in world.children[kind].items():
                if (kind, name) in planned:
                    continue
                try:
                    await self._api.delete(kind, item)
                    self.writes += 1
                except NoAnswerError:
                    raise
                except ApiError as error:
                    troubles.append(str(error))
        return troubles


def _with_refusal(seen: RevisionFleet, error: Exception | None) -> RevisionFleet:
    """Say what the server last said of the revision: for good, or for now."""
    if isinstance(error, RefusedError):
        return replace(seen, failure=str(error))
    return seen if error is None else replace(seen, blocked=str(error))


def _needs_apply(kind: Kind, desired: Object, live: Object | None) -> bool:
    if live is None:
        return True
    # A snapshot never changes: the desired one was taken from the live one.
    return kind is not CONTROLLER_REVISIONS and differs(desired, live)


def _is_ours(found: dict[str, Any], owner: Owner) -> bool:
    return owned_by(found, owner.uid) and "deletionTimestamp" not in found["metadata"]


def _is_going(found: dict[str, Any], owner: Owner) -> bool:
    """Whether the object is ours and ends, or belonged to a namesake that was deleted."""
    return any(
        reference["kind"] == "ModelDeployment" and reference["name"] == owner.ref.name
        for reference in found["metadata"].get("ownerReferences", ())
    )

"""Replicas and traffic in a Kubernetes cluster: `ports.Runtime` by server-side apply."""

from dataclasses import replace
from typing import Any

from pagelet_operator.core.model import Fleet, Model, ModelRef, Plan, RevisionPlan
from pagelet_operator.kube import manifests
from pagelet_operator.kube.api import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    SERVICES,
    Api,
    ConflictError,
    Kind,
    NotFoundError,
    Object,
    RefusedError,
    owned_by,
)
from pagelet_operator.kube.drift import differs
from pagelet_operator.kube.manifests import REVISION_LABEL, Owner
from pagelet_operator.kube.world import CHILDREN, World, read
from pagelet_operator.ports import UnavailableError

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
        # What the API server says about revisions that it will not store, while it says so.
        self._refused: dict[tuple[ModelRef, str], str] = {}

    async def observe(self, ref: ModelRef) -> Fleet:
        """Return every revision of the model that exists, complete or not at all.

        Raises:
            UnavailableError: The API server did not answer.
        """
        world = await read(self._api, ref)
        self._worlds[ref] = world
        return Fleet(
            {
                name: replace(seen, failure=self._refused.get((ref, name), seen.failure))
                for name, seen in world.fleet().revisions.items()
            }
        )

    async def apply(self, model: Model, plan: Plan) -> int:
        """Make the cluster as planned; 0 writes when it already is.

        Raises:
            NameTakenError: An object of somebody else is in the way; nothing was written.
            UnavailableError: The API server did not answer, or refused a new revision, which
                the next `observe` reports as that revision's failure.
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
        await self._check_names(world, changed)
        news = [text for kind, body in changed if (text := await self._put(model.ref, kind, body))]
        await self._remove(world, {(kind, body["metadata"]["name"]) for kind, body in desired})
        if news:
            raise UnavailableError(news[0])
        return self.writes - before

    def forget(self, ref: ModelRef) -> None:
        """Drop what is remembered of a model that is gone."""
        self._worlds.pop(ref, None)
        self._refused = {key: text for key, text in self._refused.items() if key[0] != ref}

    def _desired(self, owner: Owner, model: Model, plan: Plan, world: World) -> Desired:
        desired: Desired = []
        for item in plan.revisions:
            snapshot = world.live(CONTROLLER_REVISIONS, item.revision) or self._snapshot(
                owner, model, item
            )
            pod = snapshot["data"]["podTemplate"]
            desired += [
                (CONTROLLER_REVISIONS, snapshot),
                (DEPLOYMENTS, manifests.deployment(owner, item, pod)),
                (SERVICES, manifests.revision_service(owner, item)),
            ]
        service = manifests.model_service(owner, plan)
        return [*desired, *([(SERVICES, service)] if service else [])]

    def _snapshot(self, owner: Owner, model: Model, item: RevisionPlan) -> Object:
        pod = manifests.pod_template(
            owner.ref.name, item.revision, item.template, self._engine_image
        )
        return manifests.controller_revision(
            owner, item.revision, item.template, pod, model.generation
        )

    async def _check_names(self, world: World, changed: Desired) -> None:
        """Refuse to take over what is not ours: apply would silently merge into it."""
        assert world.owner is not None
        for kind, body in changed:
            meta = body["metadata"]
            if world.live(kind, meta["name"]) is not None:
                continue
            found = await self._api.get(kind, meta["namespace"], meta["name"])
            if found is None:
                continue
            if _is_going(found, world.owner):
                raise UnavailableError(f"{kind.kind} {meta['name']} is still being removed")
            raise NameTakenError(
                f"{kind.kind} {meta['name']} exists and is not this ModelDeployment's; rename "
                f"one of the two"
            )

    async def _put(self, ref: ModelRef, kind: Kind, body: Object) -> str | None:
        """Apply one object; return the sentence if the server newly refuses its revision."""
        revision = body["metadata"]["labels"].get(REVISION_LABEL)
        key = (ref, str(revision))
        try:
            await self._api.apply(kind, body)
        except RefusedError as error:
            if revision is None:
                raise UnavailableError(str(error)) from error
            known = self._refused.get(key)
            self._refused[key] = str(error)
            return None if known == str(error) else str(error)
        except (ConflictError, NotFoundError) as error:
            # It changed under our hands, or its namespace is going: look again.
            raise UnavailableError(str(error)) from error
        self.writes += 1
        if kind is DEPLOYMENTS:
            self._refused.pop(key, None)
        return None

    async def _remove(self, world: World, planned: set[tuple[Kind, str]]) -> None:
        for kind in CHILDREN:
            for name, item in world.children[kind].items():
                if (kind, name) not in planned:
                    await self._api.delete(kind, item)
                    self.writes += 1


def _needs_apply(kind: Kind, desired: Object, live: Object | None) -> bool:
    if live is None:
        return True
    # A snapshot never changes, and the desired one is the live one.
    return kind is not CONTROLLER_REVISIONS and differs(desired, live)


def _is_going(found: dict[str, Any], owner: Owner) -> bool:
    """Whether the object is ours and ends, or belonged to a namesake that was deleted."""
    meta = found["metadata"]
    if owned_by(found, owner.uid):
        return True
    return any(
        reference["kind"] == "ModelDeployment" and reference["name"] == owner.ref.name
        for reference in meta.get("ownerReferences", ())
    )

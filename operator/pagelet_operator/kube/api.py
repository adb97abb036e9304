"""The API server, as far as the operator needs it: seven calls over plain JSON.

The official client does transport and credentials; its generated classes are left out, since
an object that is read, compared and applied again is best kept as it is on the wire.

    ApiError
    ├── NotFoundError            404; often an answer, not a failure
    ├── ConflictError            409; somebody was faster: read again, decide again
    ├── RefusedError             400, 413, 422, or a field the schema does not know; the object
    │                            can never be stored as it is
    └── ApiUnavailableError      429, 5xx: call again later (also a `ports.UnavailableError`)
        ├── NoAnswerError        the connection failed, or what came is no answer
        └── ForbiddenError       403; no right to ask, a quota, or an admission policy: what is
                                 in the way may go
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from pagelet_operator.ports import UnavailableError

FIELD_MANAGER = "pagelet-operator"

REQUEST_TIMEOUT_S = 15.0
"""Longest wait for one answer. Well above the slowest healthy API server, and short enough
that a hung connection costs one retry, not a rollout."""

PAGE_SIZE = 500
"""Objects per LIST page; bounds the memory of one answer, as kubectl does."""

_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches"""

Object = dict[str, Any]


class ApiError(Exception):
    """The API server did not do what was asked; the message has its own words."""


class NotFoundError(ApiError):
    """There is no such object."""


class ConflictError(ApiError):
    """The object changed since it was read."""


class RefusedError(ApiError):
    """The API server will never store this object as it is."""


class ApiUnavailableError(ApiError, UnavailableError):
    """No answer, or not now. `retry_after_s` is the server's wish, 0 without one."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoAnswerError(ApiUnavailableError):
    """The API server was not reached, or its answer was not understood."""


class ForbiddenError(ApiUnavailableError):
    """The API server answers, and forbids this: rights, a quota, an admission policy."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind of object and where the server keeps it."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the URL's path; of all namespaces if `namespace` is None."""
        root = "/apis" if "/" in self.api_version else "/api"
        parts = [root, self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        return "/".join(part for part in (*parts, self.plural, name, subresource) if part)


MODEL_DEPLOYMENTS = Kind("pagelet.dev/v1alpha1", "ModelDeployment", "modeldeployments")
CONTROLLER_REVISIONS = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
DEPLOYMENTS = Kind("apps/v1", "Deployment", "deployments")
SECRETS = Kind("v1", "Secret", "secrets")
SERVICES = Kind("v1", "Service", "services")
PODS = Kind("v1", "Pod", "pods")
EVENTS = Kind("events.k8s.io/v1", "Event", "events")


class Api:
    """Calls to one API server. Safe to use from several tasks of one event loop."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, or None if there is none."""
        try:
            return await self._call("GET", kind.path(namespace, name))
        except NotFoundError:
            return None

    async def get_metadata(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object without its content, which the server then does not send; or None."""
        try:
            return await self._call("GET", kind.path(namespace, name), accept=_METADATA_ONLY)
        except NotFoundError:
            return None

    async def list(self, kind: Kind, namespace: str | None, selector: str = "") -> list[Object]:
        """Return all objects that match the label selector, complete or not at all."""
        items: list[Object] = []
        query = {"limit": str(PAGE_SIZE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._call("GET", kind.path(namespace), query=query)
            # The items of built-in kinds come without what the list already says.
            items += [
                {"apiVersion": kind.api_version, "kind": kind.kind, **item}
                for item in page["items"]
            ]
            token = page["metadata"].get("continue")
            if not token:
                return items
            query = {**query, "continue": token}

    async def apply(self, kind: Kind, body: Object, manager: str = FIELD_MANAGER) -> Object:
        """Create the object or take over the fields that `body` names (server-side apply)."""
        meta = body["metadata"]
        return await self._call(
            "PATCH",
            kind.path(meta["namespace"], meta["name"]),
            body,
            query={"fieldManager": manager, "force": "true"},
            content_type="application/apply-patch+yaml",
        )

    async def delete(self, kind: Kind, item: Mapping[str, Any]) -> None:
        """Delete exactly this object, not one of the same name; fine if it is gone."""
        meta = item["metadata"]
        options = {"preconditions": {"uid": meta["uid"]}, "propagationPolicy": "Background"}
        try:
            await self._call("DELETE", kind.path(meta["namespace"], meta["name"]), options)
        except (NotFoundError, ConflictError):
            return

    async def replace_status(self, kind: Kind, body: Object) -> Object:
        """Replace the status of the object, if it is still as it was read.

        Raises:
            ConflictError: It changed since (`metadata.resourceVersion` is the precondition).
        """
        meta = body["metadata"]
        path = kind.path(meta["namespace"], meta["name"], "status")
        return await self._call("PUT", path, body, query={"fieldManager": FIELD_MANAGER})

    async def replace(self, kind: Kind, body: Object) -> Object:
        """Replace the object, if it is still as it was read.

        Raises:
            ConflictError: It changed since (`metadata.resourceVersion` is the precondition).
        """
        meta = body["metadata"]
        path = kind.path(meta["namespace"], meta["name"])
        return await self._call("PUT", path, body, query={"fieldManager": FIELD_MANAGER})

    async def create(self, kind: Kind, body: Object) -> Object:
        """Create the object."""
        return await self._call("POST", kind.path(body["metadata"]["namespace"]), body)

    async def exists(self, path: str) -> bool:
        """Say whether the server knows a path such as `/apis/pagelet.dev/v1alpha1`."""
        try:
            await self._call("GET", path)
        except NotFoundError:
            return False
        return True

    async def _call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            request = await self._client.param_serialize(
                method=method,
                resource_path=path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await self._client.call_api(*request, _request_timeout=REQUEST_TIMEOUT_S)
            data = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise NoAnswerError(f"{method} {path}: {reason}") from error
        if 200 <= answer.status <= 299:
            return _decoded(method, path, data)
        raise _error(answer.status, answer.headers, f"{method} {path}: {_message(data)}")


@asynccontextmanager
async def connect(configuration: Configuration) -> AsyncIterator[Api]:
    """Open the API server of a configuration, and close its connections in the end."""
    async with ApiClient(configuration) as client:
        yield Api(client)


async def load_configuration(kubeconfig: str | None) -> Configuration:
    """Return how to reach the API server: a kubeconfig file, else the pod's own account.

    Raises:
        ConfigException: There is neither, or the file cannot be used.
    """
    configuration = Configuration()
    if kubeconfig is None:
        try:
            kube_config.load_incluster_config(client_configuration=configuration)
        except ConfigException:
            await kube_config.load_kube_config(client_configuration=configuration)
    else:
        await kube_config.load_kube_config(kubeconfig, client_configuration=configuration)
    return configuration


def _decoded(method: str, path: str, data: bytes) -> Object:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        # A proxy's page, or an answer cut short: nothing was learnt, so ask again.
        raise NoAnswerError(f"{method} {path}: the answer is no JSON object")
    return found


_UNKNOWN_FIELD = "failed to create typed patch object"
"""How server-side apply says, with status 500, that an object does not fit its schema."""


def _error(status: int, headers: Mapping[str, str], message: str) -> ApiError:
    text = f"{message} (HTTP {status})"
    match status:
        case 404:
            return NotFoundError(text)
        case 409:
            return ConflictError(text)
        case 403:
            return ForbiddenError(text, _retry_after_s(headers))
        case 400 | 413 | 422:
            return RefusedError(text)
        case 500 if _UNKNOWN_FIELD in message:
            return RefusedError(text)
        case _:
            return ApiUnavailableError(text, _retry_after_s(headers))


def _retry_after_s(headers: Mapping[str, str]) -> float:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0


def _message(data: bytes) -> str:
    try:
        found = json.loads(data)
    except ValueError:
        return data[:200].decode("utf-8", "replace")
    return str(found.get("message", found)) if isinstance(found, dict) else str(found)


def owned_by(item: Mapping[str, Any], uid: str) -> bool:
    """Say whether the object's controller is the one with this uid."""
    owners: Sequence[Mapping[str, Any]] = item["metadata"].get("ownerReferences", ())
    return any(owner["uid"] == uid and owner.get("controller") for owner in owners)

"""The API server, as far as a gateway needs it: list, watch and one Secret, as plain JSON.

ApiError                what was asked for was not answered; the message has the server's words
└── GoneError           a watch is too old to go on: list again
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from pagelet_gateway.errors import ConfigError

ANSWER_S = 10.0
"""Longest wait for one answer, seconds."""

WATCH_S = 60
"""How long the server keeps a watch open, seconds. A connection that dies without a word is
noticed after this and a margin, since even an idle watch must end by then."""

WATCH_MARGIN_S = 10.0

PAGE_SIZE = 500
"""Objects per LIST page, as kubectl has it; bounds the memory of one answer."""

_CONNECT_S = 5.0

Object = dict[str, Any]


class ApiError(Exception):
    """The API server did not answer, or not with what was asked for."""


class GoneError(ApiError):
    """The version to go on from is no longer known."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind and where the server keeps it."""

    root: str
    plural: str
    selector: str = ""
    """Label selector of the objects of interest."""

    def path(self, namespace: str | None) -> str:
        """Return the URL's path; of all namespaces if `namespace` is None."""
        middle = "" if namespace is None else f"/namespaces/{namespace}"
        return f"{self.root}{middle}/{self.plural}"


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch."""

    kind: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    item: Object
    version: str
    """The resource version to go on from."""


class KubeApi:
    """Calls to one API server; for the tasks of one event loop."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def list(self, kind: Kind, namespace: str | None) -> tuple[list[Object], str]:
        """Return all objects, complete or not at all, and the version to watch from.

        Raises:
            ApiError: No answer.
        """
        items: list[Object] = []
        query = {"limit": str(PAGE_SIZE), **_selected(kind)}
        while True:
            page = await self._get(kind.path(namespace), query)
            try:
                items += page["items"]
                version, token = (
                    page["metadata"]["resourceVersion"],
                    page["metadata"].get("continue"),
                )
            except (KeyError, TypeError, AttributeError):
                raise ApiError(f"GET {kind.path(namespace)}: the answer is no list") from None
            if not token:
                return items, str(version)
            query = {**query, "continue": token}

    async def watch(
        self, kind: Kind, namespace: str | None, version: str
    ) -> AsyncGenerator[Change, None]:
        """Yield changes since `version` until the server ends the watch, as it does in time.

        Raises:
            GoneError: The version is too old.
            ApiError: The connection broke, or what came is no event.
        """
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_S),
            **_selected(kind),
        }
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_S, sock_read=WATCH_S + WATCH_MARGIN_S
        )
        async with self._answer(kind.path(namespace), query, limits) as answer:
            while line := await answer.content.readline():
                yield _change(line)

    async def secret(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return a Secret's `data`, base64 by key; None if there is no such Secret.

        Raises:
            ApiError: No answer, or no right to ask.
        """
        try:
            found = await self._get(f"/api/v1/namespaces/{namespace}/secrets/{name}", {})
        except _NotFoundError:
            return None
        data = found.get("data") or {}
        return data if isinstance(data, Mapping) else {}

    async def _get(self, path: str, query: Mapping[str, str]) -> Object:
        limits = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=_CONNECT_S)
        async with self._answer(path, query, limits) as answer:
            found = json.loads(await answer.read())
        if not isinstance(found, dict):
            raise ApiError(f"GET {path}: the answer is no object")
        return found

    @asynccontextmanager
    async def _answer(
        self, path: str, query: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an answer with status 200; whatever breaks it becomes an `ApiError`."""
        try:
            request = await self._client.param_serialize(
                method="GET",
                resource_path=path,
                query_params=list(query.items()),
                header_params={"Accept": "application/json"},
                auth_settings=["BearerToken"],
            )
            wrapped = await self._client.call_api(*request, _request_timeout=limits)
            answer: aiohttp.ClientResponse = wrapped.response
            try:
                if answer.status != 200:
                    raise _refusal(path, answer.status, await answer.read())
                yield answer
            finally:
                answer.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, ConfigException) as error:
            reason = str(error) or type(error).__name__
            raise ApiError(f"GET {path}: {reason}") from error


class _NotFoundError(ApiError):
    """404."""


@asynccontextmanager
async def connect(configuration: Configuration) -> AsyncIterator[KubeApi]:
    """Open the API server of a configuration, and close its connections in the end."""
    async with ApiClient(configuration) as client:
        yield KubeApi(client)


async def load_configuration(kubeconfig: str | None) -> Configuration:
    """Return how to reach the API server: a kubeconfig file, else the pod's own account.

    Raises:
        ConfigError: There is neither, or the file cannot be used.
    """
    configuration = Configuration()
    if kubeconfig is not None:
        _check_is_file(kubeconfig)
    try:
        if kubeconfig is not None:
            await kube_config.load_kube_config(kubeconfig, client_configuration=configuration)
            return configuration
        try:
            kube_config.load_incluster_config(client_configuration=configuration)
        except ConfigException:
            await kube_config.load_kube_config(client_configuration=configuration)
    except (ConfigException, OSError) as error:
        raise ConfigError(
            f"no cluster is configured: {error}. Give --kubeconfig, or run inside a cluster."
        ) from error
    return configuration


def _check_is_file(path: str) -> None:
    # The client would print a line of its own, and complain of a missing key.
    if not Path(path).is_file():
        raise ConfigError(f"--kubeconfig {path} is no file; give one that exists.")


def _selected(kind: Kind) -> dict[str, str]:
    return {"labelSelector": kind.selector} if kind.selector else {}


def _change(line: bytes) -> Change:
    try:
        event = json.loads(line)
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            code, message = item.get("code"), item.get("message")
            raise GoneError(message) if code == 410 else ApiError(f"watch: {message}")
        return Change(str(kind), item, str(item["metadata"]["resourceVersion"]))
    except (KeyError, TypeError, AttributeError):
        raise ApiError("watch: what came is no event") from None


def _refusal(path: str, status: int, data: bytes) -> ApiError:
    try:
        message = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        message = data[:200].decode("utf-8", "replace")
    text = f"GET {path}: {message} (HTTP {status})"
    match status:
        case 404:
            return _NotFoundError(text)
        case 410:
            return GoneError(text)
        case _:
            return ApiError(text)

"""kopf's whole part: it watches and wakes. What an event says decides nothing.

No handler here makes kopf write: no finalizer, no annotation, no status, no event. It keeps
the watches alive, which is the hard part: reconnects, bookmarks, credentials that expire.
"""

import datetime
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.api import DEPLOYMENTS, MODEL_DEPLOYMENTS, PODS, SERVICES, Kind
from pagelet_operator.kube.manifests import MODEL_LABEL

CREDENTIALS_S = 600
"""How long credentials are used before they are read again, seconds; a pod's token is renewed
in its file long before it expires."""

WATCHED_CHILDREN = (DEPLOYMENTS, SERVICES, PODS)

Wake = Callable[[ModelRef], None]
Credentials = Callable[[], Awaitable[Configuration]]


def registry(wake: Wake, wake_owner: Wake, credentials: Credentials) -> kopf.OperatorRegistry:
    """Return kopf's handlers.

    Args:
        wake: Called for each event of a model.
        wake_owner: Called with the model of a child, for each event of the child.
        credentials: How to reach the API server, asked again before they expire.
    """
    handlers = kopf.OperatorRegistry()

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(await credentials())

    async def on_model(name: str, namespace: str, **_: Any) -> None:
        wake(ModelRef(namespace, name))

    async def on_child(labels: Mapping[str, str], namespace: str, **_: Any) -> None:
        name = labels.get(MODEL_LABEL)
        if name:
            wake_owner(ModelRef(namespace, name))

    kopf.on.login(registry=handlers)(login)
    kopf.on.event(*_selector(MODEL_DEPLOYMENTS), registry=handlers)(on_model)
    for kind in WATCHED_CHILDREN:
        kopf.on.event(*_selector(kind), registry=handlers)(on_child)
    return handlers


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: streams that end and begin again, and nothing it would write."""
    chosen = kopf.OperatorSettings()
    # A stream that the server ends every two minutes cannot die unnoticed for longer.
    chosen.watching.server_timeout = 120
    chosen.watching.client_timeout = 150
    chosen.watching.connect_timeout = 5
    chosen.networking.request_timeout = 15
    chosen.posting.enabled = False
    chosen.posting.loggers = False
    chosen.peering.standalone = True
    # Without this it would need to list CustomResourceDefinitions and namespaces.
    chosen.scanning.disabled = True
    for kind in WATCHED_CHILDREN:
        group, _, version = kind.api_version.rpartition("/")
        chosen.watching.label_selectors[group, version, kind.plural] = MODEL_LABEL
    return chosen


def _selector(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural


def _connection(configuration: Configuration) -> kopf.ConnectionInfo:
    token = (configuration.api_key or {}).get("BearerToken")
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=CREDENTIALS_S)
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=token.removeprefix("Bearer ") if token else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        expiration=expires,
    )

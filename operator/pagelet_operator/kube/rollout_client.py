"""`pagelet rollout` on a cluster: reads a ModelDeployment's status, writes one annotation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kubernetes.aio import config as kube_config
from kubernetes.aio.config import ConfigException

from pagelet_operator.api.rollout_text import RolloutError
from pagelet_operator.kube.api import (
    MODEL_DEPLOYMENTS,
    Api,
    ApiError,
    connect,
    load_configuration,
)
from pagelet_operator.kube.manifests import COMMAND_ANNOTATION

FIELD_MANAGER = "pagelet-rollout"
"""Owns the command's annotation and nothing else of the resource."""


class KubeRollouts:
    """Rollouts of the ModelDeployments of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    async def status(self, name: str) -> dict[str, Any]:
        """Return the ModelDeployment's status.

        Raises:
            RolloutError: There is none of this name, or the API server does not say.
        """
        try:
            found = await self._api.get(MODEL_DEPLOYMENTS, self._namespace, name)
            if found is not None:
                return dict(found.get("status") or {})
            items = await self._api.list(MODEL_DEPLOYMENTS, self._namespace)
        except ApiError as error:
            raise RolloutError(str(error)) from error
        names = ", ".join(sorted(item["metadata"]["name"] for item in items)) or "none"
        raise RolloutError(
            f"no ModelDeployment {name!r} in namespace {self._namespace!r}; there are: {names}"
        )

    async def give(self, name: str, text: str) -> None:
        """Give a command; the operator's answer comes with `status.rollout.command`.

        Raises:
            RolloutError: It could not be written.
        """
        body = {
            "apiVersion": MODEL_DEPLOYMENTS.api_version,
            "kind": MODEL_DEPLOYMENTS.kind,
            "metadata": {
                "name": name,
                "namespace": self._namespace,
                "annotations": {COMMAND_ANNOTATION: text},
            },
        }
        try:
            await self._api.apply(MODEL_DEPLOYMENTS, body, FIELD_MANAGER)
        except ApiError as error:
            raise RolloutError(str(error)) from error


@asynccontextmanager
async def cluster(kubeconfig: str | None, namespace: str | None) -> AsyncIterator[KubeRollouts]:
    """Open the cluster that kubectl would talk to.

    Raises:
        RolloutError: No cluster is configured.
    """
    try:
        configuration = await load_configuration(kubeconfig)
    except (ConfigException, OSError) as error:
        raise RolloutError(
            f"no `pagelet up` of this user serves that model, and no cluster is configured "
            f"({error}); give --state-dir or --kubeconfig"
        ) from error
    async with connect(configuration) as api:
        yield KubeRollouts(api, namespace or _current_namespace(kubeconfig))


def _current_namespace(kubeconfig: str | None) -> str:
    """Return the namespace of the kubeconfig's context, as kubectl does."""
    try:
        _, active = kube_config.list_kube_config_contexts(kubeconfig)
    except (ConfigException, OSError):
        return "default"
    return str(active["context"].get("namespace") or "default")

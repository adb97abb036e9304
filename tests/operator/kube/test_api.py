"""Talking to the API server: what each answer means, and that none is taken for another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kmock
import pytest
from kubernetes.aio.client import Configuration

from pagelet_operator.kube.api import (
    DEPLOYMENTS,
    MODEL_DEPLOYMENTS,
    SERVICES,
    Api,
    ApiError,
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    Kind,
    NotFoundError,
    RefusedError,
    connect,
    load_configuration,
)
from pagelet_operator.ports import UnavailableError

pytestmark = pytest.mark.kmock(cls=kmock.RawHandler)

BODY = {"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"}}
ONE = "/apis/apps/v1/namespaces/n/deployments/a"


@pytest.fixture
async def api(kmock: kmock.RawHandler) -> AsyncIterator[Api]:
    async with connect(Configuration(host=str(kmock.url).rstrip("/"))) as found:
        yield found


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "sub", "path"),
    [
        (SERVICES, "n", "a", "", "/api/v1/namespaces/n/services/a"),
        (DEPLOYMENTS, None, "", "", "/apis/apps/v1/deployments"),
        (MODEL_DEPLOYMENTS, "n", "a", "status",
         "/apis/pagelet.dev/v1alpha1/namespaces/n/modeldeployments/a/status"),
    ],
)  # fmt: skip
def test_paths_are_the_api_servers(
    kind: Kind, namespace: str | None, name: str, sub: str, path: str
) -> None:
    assert kind.path(namespace, name, sub) == path


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RefusedError), (401, ApiUnavailableError), (403, ForbiddenError),
        (404, NotFoundError), (409, ConflictError), (413, RefusedError), (422, RefusedError),
        (429, ApiUnavailableError), (500, ApiUnavailableError), (503, ApiUnavailableError),
        (504, ApiUnavailableError),
    ],
)  # fmt: skip
async def test_a_status_means_who_can_do_what_about_it(
    api: Api, kmock: kmock.RawHandler, status: int, error: type[ApiError]
) -> None:
    kmock[f"patch {ONE}"] << status << {"message": "the server's own words"}
    with pytest.raises(error, match=f"the server's own words .HTTP {status}.") as raised:
        await api.apply(DEPLOYMENTS, BODY)
    assert type(raised.value) is error
    assert isinstance(raised.value, UnavailableError) == issubclass(error, ApiUnavailableError)


async def test_the_servers_wish_for_a_pause_is_kept(api: Api, kmock: kmock.RawHandler) -> None:
    kmock[f"get {ONE}"] << 429 << {"Retry-After": "7"} << {"message": "slow down"}
    with pytest.raises(ApiUnavailableError) as raised:
        await api.get(DEPLOYMENTS, "n", "a")
    assert raised.value.retry_after_s == 7.0


async def test_what_is_not_there_is_none_and_what_did_not_answer_is_not(
    api: Api, kmock: kmock.RawHandler
) -> None:
    kmock[f"get {ONE}"] << 404 << {"message": "no"}
    assert await api.get(DEPLOYMENTS, "n", "a") is None
    kmock["get /api/v1/namespaces/n/services/a"] << 500 << {"message": "no"}
    with pytest.raises(ApiUnavailableError):
        await api.get(SERVICES, "n", "a")


@pytest.mark.parametrize("payload", [b"<html>proxy</html>", b'{"items": [', b"[]", b"", b"null"])
async def test_an_answer_that_is_no_object_is_no_answer(
    api: Api, kmock: kmock.RawHandler, payload: bytes
) -> None:
    kmock["get /apis/apps/v1/namespaces/n/deployments"] << payload
    with pytest.raises(ApiUnavailableError, match="no JSON object"):
        await api.list(DEPLOYMENTS, "n")


async def test_a_list_is_read_to_its_end_and_its_items_say_what_they_are(
    api: Api, kmock: kmock.RawHandler
) -> None:
    pages = kmock["get /apis/apps/v1/namespaces/n/deployments"]
    pages[:1] << {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]}
    pages << {"metadata": {}, "items": [{"metadata": {"name": "b"}}]}
    found = await api.list(DEPLOYMENTS, "n", "pagelet.dev/model=chat")
    assert [item["metadata"]["name"] for item in found] == ["a", "b"]
    assert {(item["apiVersion"], item["kind"]) for item in found} == {("apps/v1", "Deployment")}
    first, second = kmock["get"]
    assert first.params["labelSelector"] == "pagelet.dev/model=chat"
    assert second.params == {**first.params, "continue": "next"}


async def test_a_list_that_breaks_off_is_no_list(api: Api, kmock: kmock.RawHandler) -> None:
    pages = kmock["get /apis/apps/v1/namespaces/n/deployments"]
    pages[:1] << {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]}
    pages << 410 << {"message": "expired"}
    with pytest.raises(ApiUnavailableError, match="expired"):
        await api.list(DEPLOYMENTS, "n")


async def test_a_deletion_is_of_this_very_object_and_repeats_safely(
    api: Api, kmock: kmock.RawHandler
) -> None:
    kmock[f"delete {ONE}"] << {"status": "Success"}
    await api.delete(DEPLOYMENTS, BODY)
    sent = kmock["delete"][0].data
    assert sent["preconditions"] == {"uid": "u"}
    assert sent["propagationPolicy"] == "Background"


@pytest.mark.parametrize("status", [404, 409])
async def test_what_is_gone_or_another_by_now_needs_no_deletion(
    api: Api, kmock: kmock.RawHandler, status: int
) -> None:
    kmock[f"delete {ONE}"] << status << {"message": "no"}
    await api.delete(DEPLOYMENTS, BODY)
    assert len(kmock["delete"]) == 1, "asked once, and content with the answer"


async def test_apply_takes_our_fields_and_status_is_replaced_by_version(
    api: Api, kmock: kmock.RawHandler
) -> None:
    kmock[f"patch {ONE}"] << {"kind": "Deployment"}
    kmock[f"put {ONE}/status"] << {"kind": "Deployment"}
    await api.apply(DEPLOYMENTS, BODY)
    await api.replace_status(DEPLOYMENTS, BODY)
    patch, put = kmock["patch"][0], kmock["put"][0]
    assert (patch.params["fieldManager"], patch.params["force"]) == ("pagelet-operator", "true")
    assert patch.headers["Content-Type"] == "application/apply-patch+yaml"
    assert put.data["metadata"]["resourceVersion"] == "1"


async def test_a_connection_that_breaks_is_unavailable_and_says_where() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, connect(Configuration(host=f"http://127.0.0.1:{port}")) as api:
        with pytest.raises(ApiUnavailableError, match=f"GET {ONE}"):
            await api.get(DEPLOYMENTS, "n", "a")
    async with connect(Configuration(host=f"http://127.0.0.1:{port}")) as api:
        with pytest.raises(ApiUnavailableError):
            await api.exists("/apis/pagelet.dev/v1alpha1")


async def test_a_group_the_server_does_not_know_does_not_exist(
    api: Api, kmock: kmock.RawHandler
) -> None:
    kmock["get /apis/pagelet.dev/v1alpha1"] << 404 << {"message": "no"}
    assert not await api.exists("/apis/pagelet.dev/v1alpha1")
    kmock["get /apis/apps/v1"] << {"kind": "APIResourceList"}
    assert await api.exists("/apis/apps/v1")


async def test_a_kubeconfig_says_where_the_server_is_and_who_asks(tmp_path: Any) -> None:
    import kube_cluster

    path = tmp_path / "kubeconfig"
    path.write_text(kube_cluster._kubeconfig("https://10.0.0.1:6443", "secret"))
    configuration = await load_configuration(str(path))
    assert configuration.host == "https://10.0.0.1:6443"
    assert configuration.api_key["BearerToken"] == "Bearer secret"


async def test_a_field_the_schema_does_not_know_is_refused_whatever_the_status_says(
    api: Api, kmock: kmock.RawHandler
) -> None:
    words = "failed to create typed patch object: .spec.x: field not declared in schema"
    kmock[f"patch {ONE}"] << 500 << {"message": words}
    with pytest.raises(RefusedError, match="not declared"):
        await api.apply(DEPLOYMENTS, BODY)

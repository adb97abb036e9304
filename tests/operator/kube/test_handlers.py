"""kopf's part: every event wakes the right model, and kopf itself writes nothing."""

import kopf
from kubernetes.aio.client import Configuration

from pagelet_operator.core.model import ModelRef
from pagelet_operator.kube.handlers import registry, settings


async def configuration() -> Configuration:
    return Configuration()


def built(woken: list[ModelRef]) -> kopf.OperatorRegistry:
    return registry(woken.append, woken.append, configuration)


async def test_an_event_of_the_resource_or_of_a_child_wakes_the_model() -> None:
    woken: list[ModelRef] = []
    by_id = {handler.id: handler.fn for handler in built(woken)._watching._handlers}
    await by_id["registry.<locals>.on_model"](name="chat", namespace="models")
    await by_id["registry.<locals>.on_child"](
        labels={"pagelet.dev/model": "other"}, namespace="models"
    )
    await by_id["registry.<locals>.on_child"](labels={}, namespace="models")
    assert woken == [ModelRef("models", "chat"), ModelRef("models", "other")]


def test_no_handler_needs_a_finalizer_an_annotation_or_a_patch() -> None:
    found = built([])
    assert not found._changing._handlers
    assert not found._spawning._handlers
    assert not found._webhooks._handlers


def test_kopf_posts_no_events_and_needs_no_peering_and_no_cluster_wide_lists() -> None:
    chosen = settings()
    assert (chosen.posting.enabled, chosen.posting.loggers) == (False, False)
    assert chosen.peering.standalone
    assert chosen.scanning.disabled


def test_children_are_filtered_by_the_server_so_that_a_big_cluster_costs_nothing() -> None:
    selectors = dict(settings().watching.label_selectors)
    assert set(selectors.values()) == {"pagelet.dev/model"}
    assert len(selectors) == 3


async def test_credentials_go_to_kopf_as_they_are() -> None:
    from pagelet_operator.kube.handlers import _connection

    chosen = Configuration(host="https://10.0.0.1")
    chosen.api_key = {"BearerToken": "Bearer abc"}
    chosen.verify_ssl = False
    info = _connection(chosen)
    assert (info.server, info.token, info.insecure) == ("https://10.0.0.1", "abc", True)
    assert info.expiration is not None

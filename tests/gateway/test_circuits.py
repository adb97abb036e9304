from prometheus_client import CollectorRegistry

from pagelet_gateway.circuits import CircuitStates
from pagelet_gateway.core.breaker import State


def test_states_are_read_when_they_are_scraped():
    states = [(("m", "m-1"), State.OPEN, 0), (("m", "m-2"), State.CLOSED, 2)]
    registry, circuits = CollectorRegistry(), CircuitStates()
    registry.register(circuits)
    labels = {"model": "m", "revision": "m-1"}
    assert registry.get_sample_value("pagelet_gateway_breaker_state", labels) is None
    circuits.watch(lambda now: states)
    assert registry.get_sample_value("pagelet_gateway_breaker_state", labels) == 2
    states[0] = (("m", "m-1"), State.HALF_OPEN, 0)
    assert registry.get_sample_value("pagelet_gateway_breaker_state", labels) == 1
    other = {"model": "m", "revision": "m-2"}
    assert registry.get_sample_value("pagelet_gateway_endpoints_ejected", other) == 2

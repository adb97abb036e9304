"""Whatever the pool, the limits and the neighbours: the same output, and nothing lost."""

from hypothesis import given, settings

from engine_fakes import FakeRunner
from engine_scenarios import Scenario, run_scenario, scenarios


@given(scenarios())
@settings(max_examples=300, deadline=None)
def test_batching_chunking_preemption_and_aborts_never_change_an_output(scenario: Scenario):
    run_scenario(scenario, FakeRunner(scenario.block_size))

"""The tensors of a step say exactly what the plan says, however rows are reused."""

from hypothesis import given, settings

from engine_fakes import TensorRunner
from engine_scenarios import Scenario, run_scenario, scenarios


@given(scenarios())
@settings(max_examples=150, deadline=None)
def test_block_tables_and_slots_survive_preemption_and_reuse(scenario: Scenario):
    runner = TensorRunner(
        max_num_seqs=scenario.limits.max_num_seqs,
        num_blocks=scenario.num_blocks,
        block_size=scenario.block_size,
    )
    run_scenario(scenario, runner)

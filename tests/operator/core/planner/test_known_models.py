import pytest

from pagelet_operator.core.planner.known_models import KNOWN

# What the models' pages say, in millions.
PUBLISHED = {
    "hf://HuggingFaceTB/SmolLM2-135M-Instruct": 134.5,
    "hf://meta-llama/Llama-3.1-8B-Instruct": 8030,
    "hf://meta-llama/Llama-3.1-70B-Instruct": 70_554,
    "hf://meta-llama/Llama-3.2-1B-Instruct": 1236,
    "hf://meta-llama/Llama-3.2-3B-Instruct": 3213,
    "hf://mistralai/Mistral-7B-Instruct-v0.3": 7248,
    "hf://Qwen/Qwen2.5-7B-Instruct": 7616,
    "hf://Qwen/Qwen3-8B": 8191,
}


@pytest.mark.parametrize("source", PUBLISHED)
def test_the_shape_counts_the_published_parameters(source):
    assert KNOWN[source].num_parameters / 1e6 == pytest.approx(PUBLISHED[source], rel=2e-3)


def test_every_model_of_the_hub_is_checked():
    assert {source for source in KNOWN if source.startswith("hf://")} == PUBLISHED.keys()

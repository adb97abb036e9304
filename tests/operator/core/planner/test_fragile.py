import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.planner.fragile import Caps, fragile
from pagelet_operator.core.planner.memory import EngineNumbers, plan_memory
from pagelet_operator.core.planner.mix import Mix, of_percentiles
from planner_cases import CHAT, H100, LLAMA_8B, mixes

CAPS = Caps(max_prompt_tokens=3000, max_output_tokens=1000)


def said(caps=CAPS, mix=CHAT, **engine):
    engine = {"max_model_len": 4096, "max_num_seqs": 64} | engine
    memory = plan_memory(LLAMA_8B, EngineNumbers(**engine), H100)
    return list(fragile(memory, caps, mix))


def mix(prompt, output):
    return Mix(
        prompts=of_percentiles(*prompt, "p"), outputs=of_percentiles(*output, "o"), source="x"
    )


def test_a_bounded_resource_with_room_is_not_fragile():
    assert said() == []


@pytest.mark.parametrize(
    ("caps", "named"),
    [
        (Caps(), "no maxPromptTokens and no maxOutputTokens"),
        (Caps(max_prompt_tokens=100), "no maxOutputTokens"),
        (Caps(max_output_tokens=100), "no maxPromptTokens"),
    ],
)
def test_missing_caps_are_named_with_what_one_request_may_take(caps, named):
    found = said(caps, None)
    assert len(found) == 1
    assert named in found[0]
    assert "4096 tokens" in found[0]


def test_a_window_times_sequences_beyond_the_cache_is_named():
    (found,) = said(CAPS, None, max_num_seqs=512)
    assert "maxNumSeqs 512 sequences of 4000 tokens" in found
    (caps, window) = said(Caps(), None, max_model_len=131072)
    assert "maxNumSeqs 64 sequences of 131072 tokens take 1024.0 GiB" in window
    assert "29%" in caps


@pytest.mark.parametrize(
    ("prompt", "output", "named"),
    [
        ((100, 500, 4096), (10, 20, 30), "maxModelLen is 4096: it is refused"),
        ((100, 500, 3500), (10, 20, 30), "leaves 596 of maxModelLen 4096"),
        ((100, 500, 3000), (10, 20, 1200), "leaves 1096 of maxModelLen 4096"),
    ],
)
def test_prompts_near_the_window_are_named(prompt, output, named):
    found = said(Caps(max_prompt_tokens=4095, max_output_tokens=4095), mix(prompt, output))
    assert any(named in warning for warning in found)


def test_lengths_above_the_caps_are_named():
    found = said(Caps(max_prompt_tokens=1000, max_output_tokens=500))
    assert "limits.maxPromptTokens is 1000, below the p99 of 2000" in found[0]
    assert "limits.maxOutputTokens is 500, below the p99 of 800" in found[1]


def test_a_cache_that_is_full_before_the_batch_is_named():
    found = said(max_num_seqs=4096)
    assert any("memory limits this replica, not arithmetic" in warning for warning in found)


@given(mixes(), st.none() | st.integers(1, 5000), st.none() | st.integers(1, 5000))
def test_every_warning_names_what_to_look_at(drawn, prompt, output):
    for warning in said(Caps(max_prompt_tokens=prompt, max_output_tokens=output), drawn):
        assert any(word in warning for word in ("max", "KV cache"))
        assert "inf" not in warning
        assert "nan" not in warning

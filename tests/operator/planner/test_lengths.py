import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.planner.lengths import from_flags, from_metrics, from_trace


def trace(tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return from_trace(path)


def rows(*lines, head="arrived_s,prompt_tokens,output_tokens"):
    return "\n".join((head, *lines)) + "\n"


def test_flags_are_percentiles():
    mix = from_flags("200,900,2000", "100,300,800")
    assert (mix.prompts.p50, mix.prompts.p99, mix.outputs.p95) == (200, 2000, 300)


@pytest.mark.parametrize("wrong", ["", "200", "1,2", "1,2,3,4", "a,b,c", "-1,2,3", "1.2.3,4,5"])
def test_flags_that_are_no_percentiles_are_refused_by_name(wrong):
    with pytest.raises(PlanError, match=r"^--prompt-tokens is .*write"):
        from_flags(wrong, "1,2,3")
    with pytest.raises(PlanError, match=r"^--output-tokens is .*write"):
        from_flags("1,2,3", wrong)


@pytest.mark.parametrize(
    ("head", "first"),
    [
        ("arrived_s,prompt_tokens,output_tokens", "0,10,20"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:17:03.9799600,10,20"),
        ("Timestamp,Model,Request tokens,Response tokens,Total tokens", "5,GPT-4,10,20,30"),
    ],
)
def test_public_layouts_are_read(tmp_path, head, first):
    mix = trace(tmp_path, rows(first, head=head))
    assert (mix.prompts.mean, mix.outputs.mean, mix.rate_per_s) == (10, 20, None)


def test_the_busiest_minute_is_the_rate(tmp_path):
    times = [*range(0, 60, 10), *range(60, 120, 2), 170]
    mix = trace(tmp_path, rows(*(f"{at},10,20" for at in times)))
    assert mix.rate_per_s == 30 / 60


def test_requests_without_an_answer_are_left_out(tmp_path):
    mix = trace(tmp_path, rows("0,10,20", "1,10,0", "2,0,5"))
    assert mix.source.endswith("1 requests")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no column with prompt lengths; it has no header"),
        ("prompt_tokens\n1\n", "no column with output lengths; it has prompt_tokens"),
        (rows(), "it is empty"),
        (rows("0,0,0"), "it is empty"),
        (rows("0,10,20", "5,x,20"), "row 2, column 'prompt_tokens' is 'x'"),
        (rows("0,10,-1"), "row 1, column 'output_tokens' is '-1'"),
        (rows("0,10"), "row 1, column 'output_tokens' is ''"),
        (rows("5,10,20", "4,10,20"), "row 2, column 'arrived_s' is earlier than the row before"),
        (rows("noon,10,20"), "row 1, column 'arrived_s' is 'noon'"),
        (rows("nan,10,20"), "row 1, column 'arrived_s' is 'nan'"),
    ],
)
def test_a_trace_that_is_none_is_refused_by_row(tmp_path, text, named):
    with pytest.raises(PlanError, match="--trace") as error:
        trace(tmp_path, text)
    assert named in str(error.value)


def test_a_trace_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"none\.csv: cannot be read"):
        from_trace(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(PlanError, match=r"x\.csv: cannot be read"):
        from_trace(tmp_path / "x.csv")


def exposition(name, counts, labels='model="chat",revision="r1"'):
    total, lines = 0, []
    for bound, count in counts.items():
        total += count
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
    return "\n".join(lines) + "\n"


PROMPTS = exposition("pagelet_gateway_prompt_tokens", {"8": 0, "16": 4, "+Inf": 0})
OUTPUTS = exposition("pagelet_gateway_output_tokens", {"8": 0, "16": 0, "+Inf": 2})


def test_a_gateway_s_histograms_are_lengths():
    mix = from_metrics(PROMPTS + OUTPUTS, "chat", "http://g/metrics")
    assert (mix.prompts.mean, mix.prompts.p50, mix.outputs.mean) == (12, 12, 24)


def test_other_models_do_not_count_and_revisions_do():
    other = exposition("pagelet_gateway_prompt_tokens", {"8": 90, "16": 0, "+Inf": 0}, 'model="b"')
    second = exposition(
        "pagelet_gateway_prompt_tokens", {"8": 4, "16": 0, "+Inf": 0}, 'model="chat",revision="r2"'
    )
    mix = from_metrics(PROMPTS + second + other + OUTPUTS, "chat", "u")
    assert mix.prompts.mean == 8


def test_vllm_s_histograms_are_lengths():
    labels = 'model_name="chat"'
    found = exposition("vllm:request_prompt_tokens", {"10": 1, "+Inf": 0}, labels)
    found += exposition("vllm:request_generation_tokens", {"10": 1, "+Inf": 0}, labels)
    assert from_metrics(found, "chat", "u").outputs.mean == 5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "has no histogram of lengths; looked for pagelet_engine_request_prompt_tokens_bucket"),
        (PROMPTS.replace("chat", "b") + OUTPUTS, "of lengths for 'chat'; it serves 'b'"),
        (PROMPTS.replace("4", "0") + OUTPUTS, "has no finished request"),
        (PROMPTS.replace(" 4", " NaN") + OUTPUTS, "cannot be read"),
        (PROMPTS.replace('"8"', '"x"') + OUTPUTS, "cannot be read"),
        (PROMPTS.replace('le="+Inf"', 'le="99"') + OUTPUTS, "cannot be read"),
    ],
)
def test_metrics_without_lengths_are_refused(text, named):
    with pytest.raises(PlanError, match=r"^--lengths-from http://g") as error:
        from_metrics(text, "chat", "http://g")
    assert named in str(error.value)


@given(st.lists(st.integers(0, 20), min_size=2, max_size=15))
def test_any_counts_are_lengths_or_a_sentence(counts):
    bounds = {str(2**power): count for power, count in enumerate(counts)} | {"+Inf": 0}
    text = exposition("pagelet_gateway_prompt_tokens", bounds) + OUTPUTS
    if sum(counts):
        assert 0 < from_metrics(text, "chat", "u").prompts.mean <= 2**15
    else:
        with pytest.raises(PlanError):
            from_metrics(text, "chat", "u")

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_resources import BAD, BAD_FOR_PARSE_ONLY, LEFT_OUT, MINIMAL, resource
from pagelet_operator.api.resource import InvalidResourceError, parse, template_spec, to_model

EVERY_BAD = [*BAD, *BAD_FOR_PARSE_ONLY]


@pytest.mark.parametrize(
    ("document", "field"), [case[1:] for case in EVERY_BAD], ids=[c[0] for c in EVERY_BAD]
)
def test_what_cannot_work_is_refused_with_a_sentence_that_names_the_field(document, field):
    with pytest.raises(InvalidResourceError) as refusal:
        parse(document)
    assert field in str(refusal.value)


@pytest.mark.parametrize("document", [None, [], "text", 7, {"kind": "Pod"}])
def test_what_is_no_resource_at_all_is_refused_too(document):
    with pytest.raises(InvalidResourceError):
        parse(document)


def test_all_problems_are_said_at_once():
    with pytest.raises(InvalidResourceError) as refusal:
        parse(resource(engine={"dtype": "int3", "maxNumSeqs": 0}))
    assert "spec.engine.dtype" in str(refusal.value)
    assert "spec.engine.maxNumSeqs" in str(refusal.value)


def without_nulls(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: without_nulls(inner) for key, inner in part.items() if inner is not None}
    return [without_nulls(inner) for inner in part] if isinstance(part, list) else part


@pytest.mark.parametrize("document", [case[1] for case in LEFT_OUT], ids=[c[0] for c in LEFT_OUT])
def test_null_is_what_leaving_it_out_is(document):
    assert without_nulls(document) != document
    found, wanted = to_model(parse(document)), to_model(parse(without_nulls(document)))
    assert found == wanted


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"model": None}, "model"),
        ({"model": {"source": None}}, "source"),
        ({"model": {"source": "dummy://tiny"}, "engin": None}, "engin"),
        ({"model": {"source": "dummy://tiny"}, "rollout": {"steps": [None]}}, "steps"),
    ],
)
def test_null_is_no_value_for_what_is_needed_or_unknown(spec, field):
    with pytest.raises(InvalidResourceError) as refusal:
        parse({**MINIMAL, "spec": spec})
    assert field in str(refusal.value)


def test_a_long_value_is_cut_in_the_sentence():
    with pytest.raises(InvalidResourceError) as refusal:
        parse(resource(engine={"dtype": "x" * 10_000}))
    assert len(str(refusal.value)) < 400


def test_only_the_source_is_required_and_the_name_is_the_models():
    model = to_model(parse(MINIMAL))
    assert (model.served_name, str(model.ref), model.replicas) == ("chat", "default/chat", 1)
    assert model.template == {"model": {"source": "dummy://tiny"}}


SERVING_ONLY = [
    {"limits": {"requestTimeout": "5m"}},
    {"scaling": {"minReplicas": 3}},
    {"rollout": {"steps": [{"weight": 10, "hold": "5s"}]}},
    {"rollout": {"retainStable": "1h", "progressDeadline": "1h"}},
    {"limits": {"tenants": [{"name": "a", "apiKeySecretRef": {"name": "keys", "key": "a"}}]}},
    {"routing": {"policy": "PrefixAware", "mirrorPercent": 10}},
    {"circuitBreaker": {"consecutiveErrors": 1}},
    {"fallback": [{"modelDeployment": "small"}]},
]


@pytest.mark.parametrize("change", SERVING_ONLY, ids=str)
def test_limits_scaling_and_rollout_never_make_a_new_revision(change):
    assert to_model(parse(resource(**change))).revision == to_model(parse(MINIMAL)).revision


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"source": "dummy://other"}},
        {"model": {"revision": "abc"}},
        {"engine": {"dtype": "bfloat16"}},
        {"engine": {"maxModelLen": 512}},
        {"pod": {"env": [{"name": "OMP_NUM_THREADS", "value": "1"}]}},
    ],
    ids=str,
)
def test_model_engine_and_pod_make_a_new_revision(change):
    assert to_model(parse(resource(**change))).revision != to_model(parse(MINIMAL)).revision


def test_writing_a_default_down_makes_no_new_revision():
    """Or the API server's defaulting, and every new field, would restart all replicas."""
    explicit = resource(engine={"dtype": "auto", "blockSize": 16, "maxNumSeqs": 64})
    assert to_model(parse(explicit)).revision == to_model(parse(MINIMAL)).revision


def test_a_resource_from_the_api_server_parses_with_its_metadata_and_status():
    stored = copy.deepcopy(MINIMAL)
    stored["metadata"] |= {"uid": "1-2", "resourceVersion": "7", "generation": 4, "labels": {}}
    stored["status"] = {"whatever": ["another", "version", "wrote"]}
    assert to_model(parse(stored)).generation == 4


@given(
    length=st.integers(1, 10_000),
    seqs=st.integers(1, 512),
    dtype=st.sampled_from(["auto", "float32", "bfloat16"]),
)
def test_a_template_gives_back_the_settings_it_was_made_of(length, seqs, dtype):
    document = resource(engine={"maxModelLen": length, "maxNumSeqs": seqs, "dtype": dtype})
    resource_ = parse(document)
    restored = template_spec(to_model(resource_).template)
    assert restored.engine == resource_.spec.engine
    assert restored.model == resource_.spec.model

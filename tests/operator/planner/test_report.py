import json

import pytest

from local_up import resource, write
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.planner.answer import Options
from pagelet_operator.planner.report import report

TINY = {"model": {"source": "dummy://tiny"}}


def test_without_options_it_says_what_applying_does(tmp_path):
    file = write(tmp_path / "m.yaml", resource())
    assert "KV cache" not in report([file], Options(), as_json=False)
    (model,) = json.loads(report([file], Options(), as_json=True))["models"]
    assert "estimate" not in model


def test_each_resource_has_an_estimate_of_its_own(tmp_path):
    file = write(tmp_path / "m.yaml", resource(**TINY), resource("other", **TINY))
    shown = report([file], Options(gpu="l4"), as_json=False)
    assert shown.count("  KV cache ") == 2
    document = json.loads(report([file], Options(gpu="l4"), as_json=True))
    assert [model["estimate"]["device"] for model in document["models"]] == ["l4", "l4"]


def test_an_error_names_the_resource(tmp_path):
    file = write(tmp_path / "m.yaml", resource(**TINY), resource("other"))
    with pytest.raises(PlanError, match=r"^default/other: spec\.model\.source 'dummy://other'"):
        report([file], Options(gpu="l4"), as_json=False)

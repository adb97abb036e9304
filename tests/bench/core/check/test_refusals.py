"""A refusal must be a 4xx, and its error object one that clients can match on."""

import json

import pytest

from pagelet_bench.core.check.exchange import Exchange
from pagelet_bench.core.check.refusals import check_refusal, error_code, refused
from pagelet_bench.core.check.target import Target
from pagelet_bench.core.check.verdict import JudgedError, Verdict

ERROR = {"message": "no", "type": "invalid_request_error", "param": "n", "code": "invalid_value"}


def answered(body, **changes):
    request = Target(model="m").chat()
    return Exchange(request=request, **({"status": 400, "text": json.dumps(body)} | changes))


def verdict(call, *arguments):
    with pytest.raises(JudgedError) as caught:
        call(*arguments)
    return caught.value.finding.verdict


def test_a_refusal_that_is_due_is_honoured_with_its_words():
    finding = refused(check_refusal(answered({"error": ERROR}), "passes"))
    assert (finding.verdict, finding.evidence) == (Verdict.HONOURED, "HTTP 400: no")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, Verdict.IGNORED),
        (299, Verdict.IGNORED),
        (300, Verdict.BROKEN),
        (408, Verdict.UNTESTABLE),
        (429, Verdict.UNTESTABLE),
        (500, Verdict.BROKEN),
        (503, Verdict.UNTESTABLE),
        (0, Verdict.BROKEN),
    ],
)
def test_anything_but_a_4xx_is_told_apart(status, said):
    assert verdict(check_refusal, answered({}, status=status), "passes") is said


def test_a_cut_refusal_is_broken():
    assert verdict(check_refusal, answered({}, failure="cut"), "passes") is Verdict.BROKEN


@pytest.mark.parametrize("code", ["invalid_value", None])
@pytest.mark.parametrize("param", ["n", None])
def test_code_and_param_are_texts_or_null(code, param):
    assert error_code(answered({"error": ERROR | {"code": code, "param": param}})) == code


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"error": "no"},
        {"error": ERROR | {"message": ""}},
        {"error": ERROR | {"message": None}},
        {"error": ERROR | {"type": None}},
        {"error": ERROR | {"code": 400}},
        {"error": ERROR | {"param": 1}},
    ],
)
def test_any_other_error_object_is_broken(body):
    assert verdict(error_code, answered(body)) is Verdict.BROKEN

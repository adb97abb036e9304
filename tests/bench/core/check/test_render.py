"""Tables: aligned, with differences marked, and nothing an endpoint says becomes markup."""

from hypothesis import given
from hypothesis import strategies as st

from pagelet_bench.core.check.catalogue import PROBES
from pagelet_bench.core.check.exchange import Exchange, Request
from pagelet_bench.core.check.records import endpoint_record
from pagelet_bench.core.check.render import markdown, text
from pagelet_bench.core.check.report import EndpointReport, rows
from pagelet_bench.core.check.trial import Outcome
from pagelet_bench.core.check.verdict import Finding, Verdict, bounded

evidence = st.text(max_size=80).map(bounded)
findings = st.builds(Finding, st.sampled_from(Verdict), evidence)


@st.composite
def reports(draw):
    probes = draw(st.lists(st.sampled_from(PROBES), unique_by=lambda p: p.id, max_size=6))
    outcomes = tuple(Outcome(probe=probe, finding=draw(findings)) for probe in probes)
    return EndpointReport(url="http://h", model="m", server="", outcomes=outcomes)


@given(reports())
def test_one_endpoint_has_a_line_for_each_probe_and_a_conclusion(report):
    lines = text([report]).splitlines()
    for outcome in report.outcomes:
        assert sum(line.startswith(f"{outcome.probe.id} ") for line in lines) >= 1
    assert lines[-1].startswith(f"{len(report.outcomes)} probes")
    assert ("nothing fails" in lines[-1]) == (not report.failing)


@given(reports())
def test_a_page_has_a_row_of_the_same_width_for_each_probe(report):
    page = [line for line in markdown([report], []).splitlines() if line.startswith("| ")]
    assert len(page) == len(report.outcomes) + 2
    assert {line.replace("\\\\", "").replace("\\|", "").count("|") for line in page} == {6}


@given(reports(), reports())
def test_beside_each_other_stand_the_probes_asked_of_both(first, second):
    both = {o.probe.id for o in first.outcomes} & {o.probe.id for o in second.outcomes}
    table = rows([first, second])
    assert {row.probe.id for row in table} == both
    for row in table:
        one, other = row.outcomes
        assert row.differs == (one.finding.verdict is not other.finding.verdict)


def test_a_record_is_bounded_whatever_was_answered():
    exchange = Exchange(
        request=Request(path="/x", body={"prompt": "x" * 10**6}),
        status=200,
        headers={"server": "y" * 10**6, "set-cookie": "secret"},
        text="z" * 10**6,
        events=("e" * 10**6,) * 100,
    )
    finding = Finding(Verdict.HONOURED, "")
    outcome = Outcome(probe=PROBES[0], finding=finding, exchanges=(exchange,))
    report = EndpointReport(url="http://h", model="m", server="", outcomes=(outcome,))
    written = str(endpoint_record(report))
    assert len(written) < 20_000
    assert "secret" not in written

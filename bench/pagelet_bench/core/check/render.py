"""The report as text for a terminal and as Markdown, from the same rows."""

from collections.abc import Sequence

from pagelet_bench.core.check.report import (
    EndpointReport,
    Row,
    mark,
    need_of,
    rows,
    summary,
)

_MAX_WIDTH = 44
_DIFFERS = "≠"


def text(reports: Sequence[EndpointReport]) -> str:
    """Draw the table; evidence stands beside one endpoint, below the table for two."""
    table = rows(reports)
    heads = [f"{chr(65 + i)}: {report.url} ({report.model})" for i, report in enumerate(reports)]
    lines = heads if len(reports) > 1 else [heads[0].removeprefix("A: ")]
    lines = [*lines, "", *_aligned([_cells(row) for row in table])]
    lines += ["", *_details(table)] if len(reports) > 1 else []
    return "\n".join([*lines, "", *_conclusion(reports)]) + "\n"


def _cells(row: Row) -> list[str]:
    first = row.outcomes[0]
    shown = [mark(outcome) for outcome in row.outcomes]
    last = first.finding.evidence if len(row.outcomes) == 1 else _DIFFERS if row.differs else ""
    return [row.probe.id, row.probe.field[:_MAX_WIDTH], *shown, last]


def _details(table: Sequence[Row]) -> list[str]:
    """Say for each difference what was seen at both."""
    lines = []
    for row in table:
        if row.differs:
            lines.append(row.probe.id)
            lines += [
                f"  {chr(65 + i)} {outcome.finding.verdict.value}: {outcome.finding.evidence}"
                for i, outcome in enumerate(row.outcomes)
            ]
    return lines


def _conclusion(reports: Sequence[EndpointReport]) -> list[str]:
    lines = []
    for index, report in enumerate(reports):
        name = f"{chr(65 + index)}: " if len(reports) > 1 else ""
        failing = len(report.failing)
        verdict = f"{failing} fail the check (!)" if failing else "nothing fails the check"
        lines.append(f"{name}{summary(report)}; {verdict}")
    return lines


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    if not cells:
        return []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths[-1] = 0
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def markdown(reports: Sequence[EndpointReport], about: Sequence[str]) -> str:
    """Write a page: what was asked (`about`, one line each), the table, the conclusion."""
    names = [chr(65 + index) for index in range(len(reports))]
    intro = [f"- {line}" for line in about]
    intro += [
        f"- {name}: `{report.url}`, model `{report.model}`{_server(report)}"
        for name, report in zip(names, reports, strict=True)
    ]
    two = len(reports) > 1
    heads = ["probe", "field", "need", *(names if two else ["verdict"]), "evidence"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    lines += [_line(_markdown_cells(row)) for row in rows(reports)]
    conclusion = [f"- {line}" for line in _conclusion(reports)]
    return "\n".join(["# pagelet check", "", *intro, "", *lines, "", *conclusion, ""])


def _server(report: EndpointReport) -> str:
    return f", server `{report.server}`" if report.server else ""


def _markdown_cells(row: Row) -> list[str]:
    evidence = [outcome.finding.evidence for outcome in row.outcomes]
    if len(evidence) > 1:
        evidence = [f"{chr(65 + i)}: {sentence}" for i, sentence in enumerate(evidence)]
    verdicts = [
        f"**{mark(outcome)}**" if row.differs else mark(outcome) for outcome in row.outcomes
    ]
    proof = "<br>".join(_escaped(sentence) for sentence in evidence)
    return [f"`{row.probe.id}`", f"`{row.probe.field}`", need_of(row.probe), *verdicts, proof]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(sentence: str) -> str:
    """Keep what an endpoint said from becoming markup."""
    safe = sentence.replace("\\", "\\\\").replace("|", "\\|")
    return safe.replace("<", "&lt;").replace(">", "&gt;").replace("`", "\\`").replace("*", "\\*")

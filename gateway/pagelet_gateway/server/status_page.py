"""The status page: every model and revision in one table, in plain HTML. Pure.

Whole without a script. With one the browser asks for the page again every two seconds and takes
over its part `live`, so there is one way to draw it. Whatever comes from a table or from the
operator's words is escaped: names of models are somebody's input.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape

from pagelet_gateway.core.breaker import State
from pagelet_gateway.server.status_assets import SCRIPT, STYLE
from pagelet_gateway.server.status_view import ModelView, RevisionView, StatusView

_COLUMNS = (
    ("Role", ""),
    ("Weight", "Share of requests asked for"),
    ("Got", "Share of requests in the last minute"),
    ("Endpoints", "Engines that take requests"),
    ("Requests", "Ended in the last minute"),
    ("Failed", "Of those: errors, time-outs, broken off"),
    ("p99 TTFT", "Time to the first token, streamed answers of the last minute"),
    ("p99 ITL", "Time between tokens in the last minute"),
    ("In flight", "Requests of this gateway"),
    ("Queue", "Requests that wait in the engines"),
    ("Held", "Requests that wait in this gateway"),
    ("Circuit", "Open: the revision fails and is left alone"),
)
_FIGURES = slice(1, 11)
_NOTHING = "–"


def page(view: StatusView, at_s: float) -> bytes:
    """Return the page as UTF-8 HTML; `at_s` is Unix seconds."""
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pagelet gateway status</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Pagelet gateway</h1>
<div class="bar">
{_search(view.wanted)}
<button id="pause" type="button" hidden>Pause updates</button>
<span id="said" class="alarm" role="status"></span>
<noscript>Reload the page for newer figures.</noscript>
</div>
<div id="live">
{_live(view, at_s)}
</div>
</main>
<script>{SCRIPT}</script>
</body>
</html>
""".encode(errors="replace")  # JSON can hold halves of characters


def _search(wanted: str) -> str:
    return (
        '<form method="get" action="/"><label>Model '
        f'<input name="model" type="search" value="{escape(wanted)}"></label> '
        '<button type="submit">Show</button></form>'
    )


def _live(view: StatusView, at_s: float) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    when = f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%H:%M:%S} UTC</time>'
    if not view.has_table:
        return f"<p>{when}: no route table has been read yet.</p>"
    if not view.models:
        which = f" with “{escape(view.wanted)}” in its name" if view.wanted else ""
        return f"<p>{when}: the route table has no model{which}.</p>"
    more = f"<p>{view.num_more} more models; look for one by name.</p>" if view.num_more else ""
    return f"{_table(view, when)}{more}"


def _table(view: StatusView, when: str) -> str:
    heads = "".join(
        f'<th scope="col"{_class(index)}{_title(hint)}>{name}</th>'
        for index, (name, hint) in enumerate(_COLUMNS)
    )
    groups = "\n".join("".join(_group(model)) for model in view.models)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="of"><table>\n'
        f'<caption id="of">Models and their revisions as this gateway sees them, {when}</caption>\n'
        f'<thead><tr><th scope="col">Revision</th>{heads}</tr></thead>\n'
        f"{groups}\n</table></div>"
    )


def _group(model: ModelView) -> Iterator[str]:
    yield f'<tbody><tr><th scope="rowgroup" colspan="{len(_COLUMNS) + 1}">{_head(model)}</th></tr>'
    for item in model.revisions:
        cells = "".join(
            f"<td{_class(index)}>{cell}</td>" for index, cell in enumerate(_cells(item))
        )
        yield f'\n<tr><th scope="row">{escape(item.name)}</th>{cells}</tr>'
    yield "</tbody>"


def _head(model: ModelView) -> str:
    said = model.standing
    name = f'<span class="name">{escape(model.name)}</span>'
    whose = f"{escape(model.resource)}, generation {model.generation}"
    parts = [name, f'<span class="faint">{whose}</span>', _word(said.phase, {"Failed"})]
    if said.verdict:
        why = f": {escape(said.why)}" if said.why else ""
        parts.append(f"Verdict {_word(said.verdict, {'Fail', 'Error'})}{why}")
    if said.message:
        parts.append(escape(said.message))
    return " · ".join(part for part in parts if part)


def _cells(item: RevisionView) -> tuple[str, ...]:
    return (
        escape(item.role),
        _percent(item.weight_percent),
        _percent(None if item.share is None else 100 * item.share),
        _endpoints(item),
        str(item.num_ended),
        _alarm(str(item.num_failed), item.num_failed > 0),
        _seconds(item.ttft_p99_s),
        _seconds(item.itl_p99_s),
        str(item.in_flight),
        _NOTHING if item.queue is None else str(item.queue),
        str(item.held),
        _circuit(item),
    )


def _endpoints(item: RevisionView) -> str:
    if item.num_endpoints is None:
        return _NOTHING
    return _alarm(str(item.num_endpoints), bool(item.weight_percent) and not item.num_endpoints)


def _circuit(item: RevisionView) -> str:
    state = _alarm(item.circuit.replace("_", "-"), item.circuit is not State.CLOSED)
    return f"{state}, {_alarm(f'{item.num_ejected} ejected', True)}" if item.num_ejected else state


def _seconds(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.0f} %"


def _word(text: str, alarming: set[str]) -> str:
    return _alarm(escape(text), text in alarming)


def _alarm(html: str, is_alarming: bool) -> str:
    return f'<span class="alarm">{html}</span>' if is_alarming else html


def _class(index: int) -> str:
    return ' class="figure"' if index in range(*_FIGURES.indices(len(_COLUMNS))) else ""


def _title(hint: str) -> str:
    return f' title="{hint}"' if hint else ""

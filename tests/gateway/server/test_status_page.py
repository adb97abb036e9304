import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from pagelet_gateway.core.breaker import State
from pagelet_gateway.core.standing import Standing
from pagelet_gateway.server.status_page import page
from pagelet_gateway.server.status_view import ModelView, RevisionView, StatusView

texts = st.text(max_size=12) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x>', "'--", "&lt;", "</title>", "\ud800"]
)
counts = st.integers(0, 10**6)
seconds = st.none() | st.floats(0, 600)
revisions = st.builds(
    RevisionView,
    name=texts,
    role=st.sampled_from(["stable", "canary", "retired", "-"]),
    weight_percent=st.none() | st.integers(0, 100),
    share=st.none() | st.floats(0, 1),
    num_endpoints=st.none() | counts,
    num_ended=counts,
    num_failed=counts,
    ttft_p99_s=seconds,
    itl_p99_s=seconds,
    in_flight=counts,
    queue=st.none() | counts,
    held=counts,
    circuit=st.sampled_from(State),
    num_ejected=counts,
)
models = st.builds(
    ModelView,
    name=texts,
    resource=texts,
    generation=counts,
    standing=st.builds(Standing, phase=texts, verdict=texts, why=texts, message=texts),
    revisions=st.lists(revisions, max_size=3).map(tuple),
)
views = st.builds(
    StatusView,
    has_table=st.booleans(),
    wanted=texts,
    models=st.lists(models, max_size=3).map(tuple),
    num_more=counts,
)
VOID = {"meta", "link", "input"}


class Outline(HTMLParser):
    """Checks that tags nest, and keeps them with their attributes, texts and table rows."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def outline(html: bytes) -> Outline:
    found = Outline()
    found.feed(html.decode())
    found.close()
    assert found.open == []
    return found


def view(*shown: ModelView, wanted: str = "", num_more: int = 0) -> StatusView:
    return StatusView(has_table=True, wanted=wanted, models=shown, num_more=num_more)


def a_model(name: str = "chat", **fields: object) -> ModelView:
    revision = RevisionView(
        name=f"{name}-1", role="canary", weight_percent=10, share=0.125, num_endpoints=2,
        num_ended=40, num_failed=1, ttft_p99_s=0.25, itl_p99_s=1.25, in_flight=3, queue=None,
        held=7, circuit=State.HALF_OPEN, num_ejected=1,
    )  # fmt: skip
    said = Standing(phase="Progressing", verdict="Pass", why="alike", message="step 2 of 4")
    return ModelView(
        name=name, resource=f"ns/{name}", generation=3, standing=said, revisions=(revision,)
    )


@given(views)
def test_whatever_names_hold_the_page_has_only_its_own_tags(view):
    found = outline(page(view, 0.0))
    names = [tag for tag, _ in found.tags]
    assert names.count("script") == names.count("style") == 1
    assert "img" not in names
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        assert set(attributes) & {"src", "href"} <= ({"href"} if tag == "link" else set())


@given(models)
def test_every_name_and_word_is_on_the_page_as_it_is(model):
    said = model.standing
    found = "".join(outline(page(view(model), 0.0)).texts)
    for text in (model.name, model.resource, said.phase, said.message):
        # A browser makes one kind of line of all; half a character cannot be sent.
        assert text.encode(errors="replace").decode() in found


def test_a_revisions_figures_stand_in_their_columns():
    head, model, revision = outline(page(view(a_model()), 0.0)).rows
    assert dict(zip(head, revision, strict=True)) == {
        "Revision": "chat-1", "Role": "canary", "Weight": "10 %", "Got": "12 %",
        "Endpoints": "2", "Requests": "40", "Failed": "1", "p99 TTFT": "250 ms",
        "p99 ITL": "1.2 s", "In flight": "3", "Queue": "–", "Held": "7",
        "Circuit": "half-open, 1 ejected",
    }  # fmt: skip
    assert model == [
        "chat · ns/chat, generation 3 · Progressing · Verdict Pass: alike · step 2 of 4"
    ]


def test_the_table_says_what_its_cells_belong_to():
    tags = outline(page(view(a_model(), a_model("code")), 0.0)).tags
    scopes = [attributes["scope"] for tag, attributes in tags if tag == "th"]
    assert scopes == ["col"] * 13 + ["rowgroup", "row"] * 2
    assert [tag for tag, _ in tags].count("caption") == 1
    assert tags[0] == ("html", {"lang": "en"})


def test_what_is_looked_for_stays_in_the_field_and_more_models_are_counted():
    html = page(view(a_model(), wanted='a"b', num_more=12), 0.0).decode()
    assert 'value="a&quot;b"' in html
    assert "12 more models" in html


def test_a_page_without_models_says_why():
    assert b"no route table has been read yet" in page(
        StatusView(has_table=False, wanted="", models=(), num_more=0), 0.0
    )
    assert "no model with “x” in its name" in page(view(wanted="x"), 0.0).decode()


def test_the_time_is_the_servers():
    assert re.search(rb'<time datetime="1970-01-01T00:01:05Z">00:01:05 UTC', page(view(), 65.0))

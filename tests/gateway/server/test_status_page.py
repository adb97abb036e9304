import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser import Browser, Tab
from gateway_process import GatewayProcess, model
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
shown_models = st.builds(
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
    models=st.lists(shown_models, max_size=3).map(tuple),
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


@given(shown_models)
def test_every_name_and_word_is_on_the_page_as_it_is(shown):
    said = shown.standing
    found = "".join(outline(page(view(shown), 0.0)).texts)
    for text in (shown.name, shown.resource, said.phase, said.message):
        # A browser makes one kind of line of all; half a character cannot be sent.
        assert text.encode(errors="replace").decode() in found


def test_a_revisions_figures_stand_in_their_columns():
    head, about, revision = outline(page(view(a_model()), 0.0)).rows
    assert dict(zip(head, revision, strict=True)) == {
        "Revision": "chat-1", "Role": "canary", "Weight": "10 %", "Got": "12 %",
        "Endpoints": "2", "Requests": "40", "Failed": "1", "p99 TTFT": "250 ms",
        "p99 ITL": "1.2 s", "In flight": "3", "Queue": "–", "Held": "7",
        "Circuit": "half-open, 1 ejected",
    }  # fmt: skip
    assert about == [
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


LINES = "[...document.querySelectorAll('tbody tr')].map(row => row.innerText)"
CONTRAST = """
(() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if ((parts(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !node.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    found.push([texts.currentNode.data, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), "--metrics-port=0") as running:
        running.page = running.wait_log("metrics listen")["url"] + "/"
        yield running


def a_route(weight: int, name: str = "chat", **said: object) -> dict:
    engines = {"chat-1": (100 - weight, []), "chat-2": (weight, ["http://127.0.0.1:9"])}
    return model(name, engines, rollout={"phase": "Progressing", **said})


async def test_a_browser_shows_it_and_asks_for_nothing_else(browser, gateway):
    evil = "<img src='http://elsewhere.invalid/' onerror='document.title=1'>"
    gateway.apply(a_route(10, evil, message="<script>document.title = 2</script>"))
    async with Tab(browser) as tab:
        await tab.open(gateway.page)
        head, stable, canary = await tab.run(LINES)
        assert head.startswith(evil)
        assert "<script>document.title = 2</script>" in head
        assert (stable.split()[:3], canary.split()[:3]) == (
            ["chat-1", "stable", "90"],
            ["chat-2", "canary", "10"],
        )
        await tab.until("1", lambda _: tab.requests.count(gateway.page) > 2)
        assert set(tab.requests) <= {gateway.page, "data:,"}
        assert await tab.run("document.title") == "Pagelet gateway status"
        assert tab.complaints == []


async def test_figures_change_by_themselves_until_paused(browser, gateway):
    gateway.apply(a_route(10))
    async with Tab(browser) as tab:
        await tab.open(gateway.page)
        gateway.apply(a_route(25, assessment={"verdict": "Fail", "message": "slower"}))
        await tab.until(f"({LINES}).join()", lambda text: "25 %" in text and "Fail: slower" in text)
        await tab.run("document.getElementById('pause').click()")
        gateway.apply(a_route(50))
        before = await tab.run(LINES)
        async with Tab(browser) as other:  # which is not paused, and asks as often
            await other.open(gateway.page)
            first = await other.run("document.querySelector('time').dateTime")
            await other.until("document.querySelector('time').dateTime", lambda at: at != first)
        assert await tab.run(LINES) == before
        await tab.run("document.getElementById('pause').click()")
        await tab.until(f"({LINES}).join()", lambda text: "50 %" in text)
        assert tab.complaints == []


async def test_without_scripts_it_is_a_table_that_says_how_to_renew_it(browser, gateway):
    gateway.apply(a_route(10))
    async with Tab(browser, scripts=False) as tab:
        await tab.open(gateway.page)
        seen = await tab.described()
        names = [name for _, name in seen]
        assert "Reload the page for newer figures." in names
        assert ("button", "Pause updates") not in seen
        assert [name for role, name in seen if role == "rowheader"][1:] == ["chat-1", "chat-2"]
        assert set(tab.requests) <= {gateway.page, "data:,"}
        assert tab.complaints == []


async def test_a_screen_reader_finds_a_named_table_with_headers(browser, gateway):
    gateway.apply(a_route(10))
    async with Tab(browser) as tab:
        await tab.open(gateway.page)
        seen = await tab.described()
    (table,) = [name for role, name in seen if role == "table"]
    assert table.startswith("Models and their revisions as this gateway sees them")
    heads = [name for role, name in seen if role == "columnheader"]
    assert heads[:3] == ["Revision", "Role", "Weight"]
    assert len(heads) == 13
    assert ("button", "Pause updates") in seen
    assert ("searchbox", "Model") in seen


@pytest.mark.parametrize("dark", [False, True])
async def test_every_text_stands_out_from_its_ground(browser, gateway, dark):
    gateway.apply(a_route(10, phase="Failed", message="withdrawn"))
    async with Tab(browser, dark=dark) as tab:
        await tab.open(gateway.page)
        found = await tab.run(CONTRAST)
    assert len(found) > 30
    # WCAG 2.2, success criterion 1.4.3.
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []


async def test_a_gateway_that_is_gone_is_told_and_the_figures_stay(browser, tmp_path):
    with GatewayProcess(tmp_path, "--metrics-port=0") as gateway:
        gateway.apply(a_route(10))
        async with Tab(browser) as tab:
            await tab.open(gateway.wait_log("metrics listen")["url"] + "/")
            assert gateway.stop() == 0
            said = "document.getElementById('said').textContent"
            await tab.until(said, lambda text: "does not answer" in text)
            assert len(await tab.run(LINES)) == 3

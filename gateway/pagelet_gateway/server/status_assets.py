"""Style and script of the status page, and the policy that lets a browser run these alone."""

import base64
import hashlib

STYLE = """\
:root { color-scheme: light dark; --text: #1a1a1a; --ground: #fff; --faint: #555;
  --line: #767676; --band: #eef1f4; --alarm: #a30000; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --ground: #16181b; --faint: #b0b4b8;
  --line: #8a8f94; --band: #24282d; --alarm: #ff9a8f; --link: #9ec1ff; } }
* { box-sizing: border-box; }
body { margin: 1rem auto; padding: 0 1rem; max-width: 90rem; background: var(--ground);
  color: var(--text); font: 1rem/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
.bar { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: .75rem 0; }
.faint { color: var(--faint); }
.scroll { overflow-x: auto; }
.scroll:focus-visible, button:focus-visible, input:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--faint); padding: .25rem 0 .5rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
td.figure, th.figure { text-align: right; }
tbody th[scope=rowgroup] { background: var(--band); white-space: normal; font-weight: 400; }
tbody th[scope=row] { font-weight: 400; }
.name { font-weight: 700; }
.alarm { color: var(--alarm); font-weight: 700; }
button, input { font: inherit; color: inherit; background: var(--ground);
  border: 1px solid var(--line); border-radius: .25rem; padding: .25rem .6rem; }
"""

SCRIPT = """\
"use strict";
(() => {
  const live = document.getElementById("live");
  const said = document.getElementById("said");
  const button = document.getElementById("pause");
  let paused = false;
  const say = (text) => { if (said.textContent !== text) said.textContent = text; };
  const refresh = async () => {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("live");
      if (paused) return;
      const left = live.querySelector(".scroll")?.scrollLeft ?? 0;
      const focused = live.contains(document.activeElement);
      live.replaceChildren(...fresh.childNodes);
      const scroll = live.querySelector(".scroll");
      if (scroll) { scroll.scrollLeft = left; if (focused) scroll.focus(); }
      say("");
    } catch {
      say("The gateway does not answer: the figures below are old.");
    }
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume updates" : "Pause updates";
    if (!paused) refresh();
  });
  const turn = async () => { await refresh(); setTimeout(turn, 2000); };
  setTimeout(turn, 2000);
})();
"""


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content-Security-Policy (https://www.w3.org/TR/CSP3/): a name that were not escaped would
still run nothing and load nothing."""

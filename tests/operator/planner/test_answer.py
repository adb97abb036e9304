import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from operator_resources import resource
from pagelet_operator.api.resource import parse
from pagelet_operator.core.planner.errors import PlanError
from pagelet_operator.planner.answer import Options, answer

ROOT = Path(__file__).resolve().parents[3]
RUN = ROOT / "benchmarks/results/serving-cpu-2026-11-23.json"
CHAT = {"prompt_tokens": "20,90,200", "output_tokens": "10,30,80"}
METRICS = "".join(
    f'pagelet_gateway_{what}_tokens_bucket{{model="chat",le="{bound}"}} {count}\n'
    for what in ("prompt", "output")
    for bound, count in (("8", 0), ("16", 4), ("+Inf", 4))
)


def ask(source="dummy://tiny", **options):
    return answer(parse(resource(model={"source": source})), Options(**options))


@contextmanager
def serving(body, status=200):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/metrics"
        finally:
            server.shutdown()
            thread.join()


def test_nothing_is_asked_without_an_option():
    assert not Options().is_asked
    assert Options(gpu="l4").is_asked
    assert Options(rate_per_s=1.0).is_asked


def test_a_measured_machine_needs_no_other_name():
    found = ask("dummy://smollm2-135m", measured=RUN, **CHAT)
    assert (found.device, found.memory.device_bytes) == ("cpu", 25_276_502_016)
    assert found.most is not None


def test_lengths_come_from_a_recording(tmp_path):
    (tmp_path / "t.csv").write_text("prompt_tokens,output_tokens\n10,20\n")
    assert ask(gpu="l4", trace=tmp_path / "t.csv").mix.prompts.mean == 10


def test_lengths_come_from_a_live_endpoint():
    with serving(METRICS) as url:
        assert ask(gpu="l4", lengths_from=url).mix.prompts.mean == 12


def test_an_endpoint_that_fails_is_named():
    with serving("", status=404) as url, pytest.raises(PlanError, match="answered HTTP 404"):
        ask(gpu="l4", lengths_from=url)
    with pytest.raises(PlanError, match=r"--lengths-from http://127\.0\.0\.1:1/: cannot be read"):
        ask(gpu="l4", lengths_from="http://127.0.0.1:1/")
    with pytest.raises(PlanError, match="--lengths-from is 'here'; write an address"):
        ask(gpu="l4", lengths_from="here")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"gpu": "h1000"}, "--gpu 'h1000' is unknown"),
        ({"gpu": "cpu"}, "--gpu cpu needs --memory"),
        ({"rate_per_s": 1.0}, "--gpu is needed"),
        ({"memory": "24 GB"}, "--memory: '24 GB' is not an amount"),
        ({"gpu": "l4", "rate_per_s": 1.0}, "--rate needs the lengths"),
        ({"gpu": "l4", "prompt_tokens": "1,2,3"}, "--output-tokens is missing"),
        ({"gpu": "l4", "output_tokens": "1,2,3"}, "--prompt-tokens is missing"),
        ({"gpu": "l4", "trace": Path("x"), **CHAT}, "give one of --prompt-tokens"),
        ({"gpu": "l4", "trace": Path("x"), "lengths_from": "u"}, "give one of --prompt-tokens"),
        ({"gpu": "l4", "price": "2.50"}, "--price is '2.50', without a currency"),
    ],
)
def test_bad_options_are_refused_by_flag(options, named):
    with pytest.raises(PlanError) as error:
        ask(**options)
    assert named in str(error.value)

"""A scripted engine for tests of one machine: ready, streaming, draining, and failing on order.

Run as `local_engine.py PORT`. The variable SCRIPT holds words that change it: `config-error`
(exit 2 with a sentence), `crash` (exit 1), `crash-once=FILE` (exit 1 if FILE does not exist
yet, and make it), `never-ready`, `stubborn` (ignores SIGTERM), `grandchild` (starts a process
that does not end by itself), `says=WORD` (the text of its completions). `POST /order` with
`{"ready": false}`, `{"silent": true}` or `{"exit": 3}` changes it while it runs.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WORDS = dict(word.partition("=")[::2] for word in os.environ.get("SCRIPT", "").split())
STATE = {"ready": "never-ready" not in WORDS, "silent": False, "draining": False, "in_flight": 0}
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        while STATE["silent"]:
            time.sleep(0.05)
        if self.path == "/v1/models":
            self.answer(200, {"data": [{"id": "chat"}]})
            return
        good = self.path == "/livez" or (STATE["ready"] and not STATE["draining"])
        self.answer(200 if good else 503, {"pid": os.getpid()})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/order":
            self.answer(200, {})
            if "exit" in body:
                os._exit(body["exit"])
            STATE.update(body)
        elif STATE["draining"]:
            self.answer(503, {"error": {"message": "draining"}}, {"x-pagelet-draining": "1"})
        else:
            self.generate(body)

    def generate(self, body):
        with LOCK:
            STATE["in_flight"] += 1
        try:
            if self.path == "/v1/completions":
                self.complete(body)
            elif body.get("stream"):
                self.stream(body.get("max_tokens", 5))
            else:
                self.answer(200, {"choices": [{"message": {"content": "Paris"}}]})
        finally:
            with LOCK:
                STATE["in_flight"] -= 1

    def complete(self, body):
        text, num_tokens = WORDS.get("says", "x"), body["max_tokens"]
        if not body.get("stream"):
            self.answer(200, {"choices": [{"text": text, "finish_reason": "length"}]})
            return
        events = [{"choices": [{"index": 0, "text": text}]} for _ in range(num_tokens)]
        events[-1]["choices"][0]["finish_reason"] = "length"
        counts = {"prompt_tokens": len(body["prompt"]), "completion_tokens": num_tokens}
        lines = [*map(json.dumps, (*events, {"choices": [], "usage": counts})), "[DONE]"]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.chunk("".join(f"data: {line}\n\n" for line in lines))
        self.wfile.write(b"0\r\n\r\n")

    def stream(self, num_tokens):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for index in range(num_tokens):
            self.chunk(f'data: {{"choices":[{{"index":0,"delta":{{"content":"{index} "}}}}]}}\n\n')
            time.sleep(0.05)
        self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def answer(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def drain(*_):
    if STATE["draining"]:
        print("a second SIGTERM", file=sys.stderr, flush=True)
        os._exit(99)
    STATE["draining"] = True
    threading.Thread(target=end_when_idle).start()


def end_when_idle():
    while STATE["in_flight"]:
        time.sleep(0.01)
    print('{"event": "drained"}', file=sys.stderr, flush=True)
    os._exit(0)


def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in WORDS else drain)
    if "config-error" in WORDS:
        print("pagelet serve: spec.model.source: there is no such model.", file=sys.stderr)
        sys.exit(2)
    if "crash-once" in WORDS and not Path(WORDS["crash-once"]).exists():
        Path(WORDS["crash-once"]).touch()
        sys.exit("something broke")
    if "crash" in WORDS:
        sys.exit("something broke")
    if "grandchild" in WORDS:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    except OSError:
        print(f"pagelet serve: port {sys.argv[1]} is in use.", file=sys.stderr)
        sys.exit(2)
    print('{"event": "ready"}', file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

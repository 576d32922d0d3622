"""A store of numbers: GET /NAME, POST /NAME adds one. GET /ok answers 503 until the store is loaded."""

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

numbers = {}
loaded = threading.Event()
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ok":
            self.answer(200 if loaded.is_set() else 503, {"loaded": loaded.is_set()})
        else:
            self.answer(200, {"value": numbers.get(self.path, 0)})

    def do_POST(self):
        with lock:
            numbers[self.path] = numbers.get(self.path, 0) + 1
            self.answer(200, {"value": numbers[self.path]})

    def answer(self, status, content):
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code=0, _size=0):
        if self.path != "/ok":  # the check asks every two seconds
            print(f"{self.requestline!r} {int(code)}", flush=True)


def load():
    time.sleep(1)  # a real store would read its files
    loaded.set()
    print("loaded", flush=True)


port = int(os.environ.get("STORE_PORT", "48918"))
try:
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
except OSError as error:
    sys.exit(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; change the port in plugin.toml")
threading.Thread(target=load, daemon=True).start()
print(f"listening on http://127.0.0.1:{port}/", flush=True)
server.serve_forever()

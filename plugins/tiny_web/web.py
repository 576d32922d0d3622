"""A page that counts its visits in tiny_store."""

import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STORE_URL = os.environ.get("STORE_URL", "http://127.0.0.1:48918")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/ok":
            self.answer(200, "ok\n")
            return
        request = urllib.request.Request(f"{STORE_URL}/visits", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=2) as response:
                self.answer(200, f"visits: {response.read().decode()}")
        except OSError as error:
            self.answer(502, f"the store does not answer: {error}\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code=0, _size=0):
        if self.path != "/ok":
            print(f"{self.requestline!r} {int(code)}", flush=True)


port = int(os.environ.get("WEB_PORT", "48919"))
try:
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
except OSError as error:
    sys.exit(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; change the port in plugin.toml")
print(f"listening on http://127.0.0.1:{port}/", flush=True)
server.serve_forever()

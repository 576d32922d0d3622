"""A tiny HTTP server as a class with startup() and shutdown(). Both could be `async def` as well."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"message": "hello from a plugin", "path": self.path}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code=0, _size=0):
        print(f"{self.client_address[0]} {self.requestline!r} {int(code)}")


class HelloPlugin:
    def startup(self):
        port = int(os.environ.get("HELLO_PORT", "48917"))
        try:
            self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            # A sentence in the log and exit status 1 say more than a traceback.
            sys.exit(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; change HELLO_PORT in plugin.toml")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        print(f"listening on http://127.0.0.1:{self.server.server_port}/")

    def shutdown(self):
        self.server.shutdown()
        self.server.server_close()
        print("closed")

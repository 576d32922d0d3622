"""A server of another origin that serves a built front end, as a host other than Plugvisor does."""

from __future__ import annotations

import contextlib
import mimetypes
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN_ORIGIN = "window.location.origin"
"""What a front end takes for the API's address unless its build says otherwise."""


class FrontEndServer(ThreadingHTTPServer):
    """Serves the files of a folder below `/ui/`, and its `index.html` for every other path there.

    Args:
        api_url: takes the place of `OWN_ORIGIN` in scripts, as a build for another origin has it.
    """

    daemon_threads = True
    request_queue_size = 128  # a browser opens many at once

    def __init__(self, folder: Path, api_url: str) -> None:
        super().__init__(("127.0.0.1", 0), FrontEndHandler)
        self.folder = folder
        self.api_url = api_url

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class FrontEndHandler(BaseHTTPRequestHandler):
    server: FrontEndServer

    def do_GET(self) -> None:
        path = self.server.folder / self.path.partition("?")[0].removeprefix("/ui/").lstrip("/")
        file = path if path.is_file() else self.server.folder / "index.html"
        content = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if kind.endswith("javascript"):
            content = content.replace(OWN_ORIGIN.encode(), f'"{self.server.api_url}"'.encode())
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def serve_front_end(folder: Path, api_url: str = "") -> Iterator[FrontEndServer]:
    """A server on a free port, until the end of the block."""
    with FrontEndServer(folder, api_url) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()

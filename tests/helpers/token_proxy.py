"""nginx as a proxy that adds a token to every request, for a front end that asks for none."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from typing import TYPE_CHECKING

from tests.helpers.ports import find_free_port
from tests.helpers.requirements import DEPLOY, find_program
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack

_CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {url};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Authorization "Bearer {token}";
        }}
    }}
}}
"""


@contextlib.contextmanager
def run_token_proxy(stack: PlugvisorStack, token: str) -> Iterator[str]:
    """The address of a proxy in front of a Plugvisor, which need not be up yet."""
    folder = stack.root / "token-proxy"
    folder.mkdir()
    port = find_free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, url=stack.url, token=token))
    command = [find_program("nginx", DEPLOY), "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(configuration)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def is_listening() -> bool:
        assert process.poll() is None, (folder / "error.log").read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS).close()
            return True
        return False

    try:
        wait_for(is_listening, "nginx")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)

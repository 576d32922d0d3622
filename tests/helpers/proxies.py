"""nginx and Caddy with the configurations of `deploy/`, in front of a Plugvisor under test."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from tests.helpers.ports import find_free_port
from tests.helpers.requirements import DEPLOY, find_program
from tests.helpers.stack import ADMIN_CODE, ROOT, run_stack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

NAME = "plugvisor.example.com"
_NGINX_CONF = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    types {{}}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/plugvisor.conf;
}}
"""


class Proxy:
    """A proxy with a certificate for `NAME`, and a client that trusts it."""

    def __init__(self, stack: PlugvisorStack, kind: str) -> None:
        self.stack = stack
        self.kind = kind
        self.folder = stack.root / kind
        self.folder.mkdir()
        self.port = find_free_port()
        self.plain_port = find_free_port()
        self.authority = f"{NAME}:{self.port}"
        _make_certificate(self.folder)
        self.context = ssl.create_default_context(cafile=str(self.folder / "plugvisor.crt"))
        self.http = httpx.Client(
            verify=self.context, base_url=f"https://127.0.0.1:{self.port}", timeout=DEADLINE_SECONDS, trust_env=False
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, read_timeout_seconds: int = 0, is_socket: bool = False) -> None:
        """Start it; it is ready when it returns.

        Args:
            read_timeout_seconds: instead of that of the configuration; Caddy's has none.
            is_socket: Plugvisor listens on `http.sock` in the stack's folder.
        """
        make_command = self._prepare_nginx if self.kind == "nginx" else self._prepare_caddy
        command = make_command(read_timeout_seconds, is_socket=is_socket)
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                command, env=self._environ, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        wait_for(self._is_listening, f"{self.kind}; see {self.folder}")

    def _prepare_nginx(self, read_timeout_seconds: int, *, is_socket: bool) -> list[str]:
        program = find_program("nginx", DEPLOY)
        text = (ROOT / "deploy" / "nginx" / "plugvisor.conf").read_text()
        text = re.sub(r" *listen \[::\].*\n", "", text)
        text = _replace(text, "listen 80;", f"listen 127.0.0.1:{self.plain_port};")
        text = _replace(text, "listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl")
        text = text.replace("/etc/nginx", str(self.folder))
        if is_socket:
            text = _replace(text, "server 127.0.0.1:48916;", "")
            text = _replace(text, "# server unix:/srv/plugvisor/", f"server unix:{self.stack.root}/")
        else:
            text = _replace(text, "127.0.0.1:48916", f"127.0.0.1:{self.stack.port}")
        if read_timeout_seconds:
            text = _replace(text, "proxy_read_timeout 330s", f"proxy_read_timeout {read_timeout_seconds}s")
        (self.folder / "plugvisor.conf").write_text(text)
        (self.folder / "nginx.conf").write_text(_NGINX_CONF.format(folder=self.folder))
        return [
            program,
            "-p",
            str(self.folder),
            "-e",
            str(self.folder / "error.log"),
            "-c",
            f"{self.folder}/nginx.conf",
        ]

    def _prepare_caddy(self, _read_timeout_seconds: int, *, is_socket: bool) -> list[str]:
        program = find_program("caddy", DEPLOY)
        text = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text()
        files = f"{self.folder}/plugvisor.crt {self.folder}/plugvisor.key"
        text = _replace(text, f"\n{NAME} {{", f"\n{NAME}:{self.port} {{\n\tbind 127.0.0.1\n\ttls {files}")
        upstream = f"unix/{self.stack.root}/http.sock" if is_socket else f"127.0.0.1:{self.stack.port}"
        text = _replace(text, "reverse_proxy 127.0.0.1:48916", f"reverse_proxy {upstream}")
        options = f"admin off\n\thttp_port {self.plain_port}\n\tgrace_period 1s"
        (self.folder / "Caddyfile").write_text(_replace(text, "grace_period 10s", options))
        return [program, "run", "--config", str(self.folder / "Caddyfile"), "--adapter", "caddyfile"]

    @property
    def _environ(self) -> dict[str, str]:
        folders = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(self.folder))
        return {"PATH": os.environ["PATH"], **folders}

    def _is_listening(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "output").read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), DEADLINE_SECONDS).close()
            return True
        return False

    # -- talking to it

    def request(self, method: str, path: str, code: str | None = ADMIN_CODE, **arguments: Any) -> httpx.Response:
        """Send a request through the proxy."""
        headers = {"Host": self.authority, **arguments.pop("headers", {})}
        headers |= {"Authorization": f"Bearer {code}"} if code is not None else {}
        return self.http.request(method, path, headers=headers, extensions={"sni_hostname": NAME}, **arguments)

    @contextlib.contextmanager
    def stream(self, path: str) -> Iterator[Iterator[str]]:
        """The lines of an open stream."""
        headers = {"Host": self.authority, "Accept": "text/event-stream", "Authorization": f"Bearer {ADMIN_CODE}"}
        with self.http.stream("GET", path, headers=headers, extensions={"sni_hostname": NAME}) as response:
            assert response.status_code == 200
            yield response.iter_lines()

    def count_upstream_connections(self) -> int:
        """How many connections it has to Plugvisor."""
        assert self._process is not None
        connections = psutil.Process(self._process.pid).net_connections("tcp4")
        return sum(bool(each.raddr) and each.raddr.port == self.stack.port for each in connections)

    def close(self) -> None:
        """End it."""
        self.http.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE_SECONDS)


@contextlib.contextmanager
def run_proxy(kind: str, *, is_socket: bool = False, **options: Any) -> Iterator[Proxy]:
    """A proxy in front of a Plugvisor of its own, both up."""
    find_program(kind, DEPLOY)
    with run_stack() as stack:
        proxy = Proxy(stack, kind)
        stack.environ["PLUGVISOR_URL"] = f"https://{proxy.authority}"
        if is_socket:
            stack.environ["PLUGVISOR_HOST"] = f"unix://{stack.root}/http.sock"
        try:
            if is_socket:
                stack.process = stack.spawn("up")
                wait_for((stack.root / "http.sock").exists, "the service's socket")
            else:
                stack.up()
            proxy.start(is_socket=is_socket, **options)
            yield proxy
        finally:
            proxy.close()


def _make_certificate(folder: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None, "there is no openssl"
    name = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "plugvisor.key"]
    command = [openssl, "req", "-x509", "-days", "1", *name, *key, "-out", "plugvisor.crt"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)


def _replace(text: str, before: str, after: str) -> str:
    """Replace what is in the file once; a file that has changed fails here, and not by serving something else."""
    assert text.count(before) == 1, before
    return text.replace(before, after)

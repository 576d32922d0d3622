"""Whom commands ask, and with what: the admin code of this machine is for this user's own Plugvisor alone."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli.client import Client, Credential, NoAnswer
from plugvisor.cli.connection import peer
from plugvisor.cli.connection.address import OwnPlugvisor, find_own, read_url
from plugvisor.cli.connection.credential import find_credential
from plugvisor.cli.connection.peer import is_own
from plugvisor.cli.doctor.configuration import check_variables
from plugvisor.cli.main import main
from plugvisor.cli.packages.upload import send_package
from plugvisor.cli.supervised import run_ctl
from plugvisor.errors import CommandRejected, ConfigurationError
from plugvisor.settings import Settings

from tests.helpers.scripted_server import ScriptedServer, make_problem, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = "an-admin-code-for-tests"
LIST = (200, b'{"plugins": [], "message": "no plugins registered"}')


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """The run folder of this user's own Plugvisor, which has left its admin code there."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    (folder / "admin_code").write_text(f"{CODE}\n")
    return folder


@pytest.fixture
def listening() -> Iterator[ScriptedServer]:
    """A service that answers as the test says."""
    with run_server(made := ScriptedServer()):
        yield made


def ask(server: ScriptedServer, **environ: str) -> str | None:
    """The credential that a command sends."""
    server.answers = [LIST]
    Client.from_env(environ).call("GET", "/plugins")
    return server.requests[-1].headers.get("Authorization")


# -- the address


def test_own_plugvisor_is_found_by_what_it_has_left(listening: ScriptedServer, run_dir: Path) -> None:
    environ = {"PLUGVISOR_RUN_DIR": str(run_dir)}
    assert find_own(environ).url == "http://127.0.0.1:48916", "the default"
    (run_dir / "address").write_text(f"{listening.url}\n\n")
    assert ask(listening, **environ) == f"Bearer {CODE}"
    assert find_own({**environ, "PLUGVISOR_PORT": "7000"}).url == "http://127.0.0.1:7000"
    assert find_own({**environ, "PLUGVISOR_HOST": "unix:///x/y.sock"}).url == "unix:///x/y.sock"
    assert find_own({**environ, "PLUGVISOR_HOST": "::"}).url == "http://[::1]:48916"


@pytest.mark.parametrize("text", ["", "\n", "gopher://x\n", "http://\xff", "http://127.0.0.1:99999\n", "x" * 10_000])
def test_what_it_has_left_cannot_be_used(run_dir: Path, text: str) -> None:
    (run_dir / "address").write_text(text, encoding="latin-1")
    assert find_own({"PLUGVISOR_RUN_DIR": str(run_dir)}).url == "http://127.0.0.1:48916"


def test_what_others_can_have_left_is_not_believed(run_dir: Path) -> None:
    (run_dir / "address").write_text("http://127.0.0.1:7000\n")
    run_dir.chmod(0o777)
    assert find_own({"PLUGVISOR_RUN_DIR": str(run_dir)}).url == "http://127.0.0.1:48916"
    run_dir.chmod(0o700)
    run_dir = run_dir.rename(run_dir.parent / "plugvisor")
    default = {"XDG_RUNTIME_DIR": str(run_dir.parent)}
    assert find_own(default).url == "http://127.0.0.1:7000"
    if os.geteuid() == 0:
        os.chown(run_dir, 65534, 65534)
        assert find_own(default).url == "http://127.0.0.1:48916", "another user has made the folder"


def test_root_finds_the_one_of_two_users(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of systemd has variables that root's shell lacks."""
    monkeypatch.setattr("plugvisor.cli.connection.address.ROOTS_RUN_DIR", run_dir)
    own = tmp_path / "user" / "plugvisor"
    own.mkdir(parents=True)
    environ = {"XDG_RUNTIME_DIR": str(own.parent)}
    (run_dir / "address").write_text("http://127.0.0.1:7000\n")
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    assert find_own(environ).url == "http://127.0.0.1:48916", "another user's"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    if run_dir.stat().st_uid == 0:
        assert find_own(environ)[::2] == ("http://127.0.0.1:7000", run_dir)
        assert find_own({**environ, "PLUGVISOR_RUN_DIR": str(tmp_path)})[::2] == ("http://127.0.0.1:48916", tmp_path)
    (own / "address").write_text("http://127.0.0.1:7001\n")
    if tmp_path.stat().st_uid == 0:
        assert find_own(environ).url == "http://127.0.0.1:7001", "its own comes first"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another's")
def test_root_without_the_settings_of_the_one_of_two_users(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """supervisorctl needs only its run folder; the doctor says that it needs more."""
    monkeypatch.setattr("plugvisor.cli.connection.address.ROOTS_RUN_DIR", run_dir)
    started: list[dict[str, str]] = []
    monkeypatch.setattr("os.execve", lambda *call: started.append(call[2]))
    for name in [name for name in os.environ if name.startswith("PLUGVISOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run_dir.parent))
    assert [finding.level for finding in check_variables(os.environ)] == ["ok"]
    (run_dir / "address").write_text("http://127.0.0.1:7000\n")
    warning, _ = check_variables(os.environ)
    assert str(run_dir) in warning.detail
    assert "systemctl show" in warning.advice
    run_ctl(argparse.Namespace(arguments=["status"]))
    assert f"unix://{run_dir}/supervisor.sock" in started[0].values()


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("http://Localhost:8080/", "http://Localhost:8080"),
        ("https://plugvisor.example.com", "https://plugvisor.example.com"),
        ("http://[::1]:48916", "http://[::1]:48916"),
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        ("localhost:8080", None),
        ("ftp://x", None),
        ("http://", None),
        ("http://x:0", None),
        ("http://x:99999", None),
        ("http://[::1", None),
        ("http://x y", None),
        ("http://x\n", None),
        ("http://me:secret@x", None),
        ("https://x/plugvisor", None),
        ("https://x?a", None),
        ("unix://x.sock", None),
    ],
)
def test_an_address(url: str, read: str | None) -> None:
    if read is not None:
        assert read_url(url) == read
        return
    with pytest.raises(ConfigurationError, match=r"^cannot use ") as caught:
        read_url(url)
    assert "secret" not in str(caught.value)


# -- the credential


def find(run_dir: Path, foreign_url: str = "", **environ: str) -> Credential:
    return find_credential(environ, OwnPlugvisor("http://127.0.0.1:48916", "", run_dir), foreign_url)


def test_which_credential_comes_first(run_dir: Path, tmp_path: Path) -> None:
    assert find(run_dir) == Credential(CODE, repr(str(run_dir / "admin_code")), is_own_code=True)
    file = tmp_path / "file"
    file.write_text("of-the-file\n")
    environ = {"PLUGVISOR_ADMIN_CODE_FILE": str(file)}
    assert find(run_dir, **environ) == Credential("of-the-file", "PLUGVISOR_ADMIN_CODE_FILE", is_own_code=True)
    environ["PLUGVISOR_ADMIN_CODE"] = "of-the-variable"
    assert find(run_dir, **environ) == Credential("of-the-variable", "PLUGVISOR_ADMIN_CODE", is_own_code=True)
    environ["PLUGVISOR_TOKEN_FILE"] = str(file)
    assert find(run_dir, **environ) == Credential("of-the-file", f"the token file {str(file)!r}")
    environ["PLUGVISOR_TOKEN"] = "pv_token"
    assert find(run_dir, **environ) == Credential("pv_token", "PLUGVISOR_TOKEN or --token")
    assert "pv_token" not in repr(find(run_dir, **environ))


@pytest.mark.parametrize("token", ["pv_a b", "pv_a\nb", "pv_é", "pv_\x7f"])
def test_a_token_that_no_header_can_hold(run_dir: Path, tmp_path: Path, token: str) -> None:
    (tmp_path / "file").write_text(token)
    for environ in ({"PLUGVISOR_TOKEN": token}, {"PLUGVISOR_TOKEN_FILE": str(tmp_path / "file")}):
        with pytest.raises(ConfigurationError, match=r"^cannot (use|read) (PLUGVISOR_TOKEN|the token file)") as caught:
            find(run_dir, **environ)
        assert "pv_" not in str(caught.value)


def test_a_file_that_was_named_must_hold_a_token(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, why in (("empty", "it is empty"), ("missing", "No such file"), (".", "Is a directory")):
        with pytest.raises(ConfigurationError, match=why):
            find(run_dir, PLUGVISOR_TOKEN_FILE=str(tmp_path / name))


def test_without_a_token_what_is_open_can_be_asked_for(listening: ScriptedServer, tmp_path: Path) -> None:
    environ = {"PLUGVISOR_RUN_DIR": str(tmp_path), "PLUGVISOR_PORT": str(listening.server_address[1])}
    assert ask(listening, **environ) is None
    listening.answers = [(401, make_problem(detail="send it as Bearer", status=401))]
    with pytest.raises(CommandRejected) as caught:
        Client.from_env(environ).call("POST", "/plugin/x/start")
    assert str(caught.value).startswith(
        f"this needs a token, but no Plugvisor has left its admin code in '{tmp_path}'; "
    )
    assert "PLUGVISOR_TOKEN_FILE" in str(caught.value)
    (tmp_path / "admin_code").mkdir()
    assert ask(listening, **environ) is None, "what cannot be read is no hindrance to what needs none"


def test_the_admin_code_is_for_no_other_address(listening: ScriptedServer, run_dir: Path) -> None:
    (run_dir / "address").write_text("http://127.0.0.1:48916\nhttps://plugvisor.example.com\n")
    own_ways = (
        {},
        {"PLUGVISOR_ADMIN_CODE": CODE},
        {"PLUGVISOR_ADMIN_CODE_FILE": str(run_dir / "admin_code")},
        {"PLUGVISOR_PORT": "48917"},
    )
    for own in own_ways:
        environ = {"PLUGVISOR_RUN_DIR": str(run_dir), "PLUGVISOR_URL": listening.url, **own}
        assert ask(listening, **environ) is None, own
        assert ask(listening, **environ, PLUGVISOR_TOKEN="pv_of-there") == "Bearer pv_of-there"
    listening.answers = [(401, make_problem(detail="send it as Bearer", status=401))]
    with pytest.raises(CommandRejected, match=f"the admin code of this machine is not sent to {listening.url}; set"):
        Client.from_env(environ).call("GET", "/identities")
    assert all(CODE not in str(request) for request in listening.requests)


@pytest.mark.parametrize(
    "named", ["http://localhost:{port}", "http://127.0.0.1:{port}/", "https://Plugvisor.example.com"]
)
def test_an_address_of_own_plugvisor_is_its_own(listening: ScriptedServer, run_dir: Path, named: str) -> None:
    """Also that of its proxy, or of a container's published port: commands use the one on this machine."""
    (run_dir / "address").write_text(f"{listening.url}\nhttps://plugvisor.example.com\n")
    url = named.format(port=listening.server_address[1])
    assert ask(listening, PLUGVISOR_RUN_DIR=str(run_dir), PLUGVISOR_URL=url) == f"Bearer {CODE}"


@pytest.mark.parametrize(
    "named",
    ["http://localhost:{port}/other", "http://me:secret@localhost:{port}", "https://plugvisor.example.com?other"],
)
def test_what_is_no_address_is_not_its_own(listening: ScriptedServer, run_dir: Path, named: str) -> None:
    """A Plugvisor that is thought to be at a path there is another one."""
    (run_dir / "address").write_text(f"{listening.url}\nhttps://plugvisor.example.com\n")
    url = named.format(port=listening.server_address[1])
    with pytest.raises(ConfigurationError, match="cannot use an address with a"):
        Client.from_env({"PLUGVISOR_RUN_DIR": str(run_dir), "PLUGVISOR_URL": url})


def test_the_published_port_of_a_container(listening: ScriptedServer, run_dir: Path) -> None:
    (run_dir / "address").write_text(f"{listening.url}\nhttp://localhost:0\n")
    assert ask(listening, PLUGVISOR_RUN_DIR=str(run_dir), PLUGVISOR_URL="http://localhost:0") == f"Bearer {CODE}"


def listen_as(uid: int, address: str) -> subprocess.Popen[bytes]:
    """A process of another user that answers as a Plugvisor without plugins, and prints what it is sent."""
    code = f"""
import os, socket, sys
os.umask(0)
os.setgid({uid}); os.setuid({uid})
address = {address!r}
listener = socket.socket(socket.AF_UNIX if address else socket.AF_INET)
listener.bind(address or ("127.0.0.1", 0))
listener.listen()
print(listener.getsockname()[1] if not address else "there", flush=True)
connection, _ = listener.accept()
print(repr(connection.recv(65536)), flush=True)
connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 31\\r\\n\\r\\n{{"plugins": [], "message": "-"}}')
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd="/")


@pytest.mark.parametrize("kind", ["port", "socket"])
def test_the_admin_code_is_for_no_other_user(kind: str) -> None:
    """Whoever takes the address while own Plugvisor does not run."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    with TemporaryDirectory(prefix="pv-") as folder:  # not tmp_path, which others cannot enter
        Path(folder, "admin_code").write_text(f"{CODE}\n")
        Path(folder).chmod(0o777)
        path = f"{folder}/x.sock" if kind == "socket" else ""
        with listen_as(65534, path) as process:
            assert process.stdout
            port = process.stdout.readline().decode().strip()
            environ = {"PLUGVISOR_HOST": f"unix://{path}"} if path else {"PLUGVISOR_PORT": port}
            client = Client.from_env({"PLUGVISOR_RUN_DIR": folder, **environ})
            assert client.call("GET", "/plugins")["plugins"] == []
            sent = process.stdout.readline()
    assert b"GET /plugins" in sent
    assert CODE.encode() not in sent


def test_the_admin_code_is_not_for_who_listens_no_more() -> None:
    """Another user who has accepted the connection, and has closed the socket that listened."""
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    code = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
print("accepted", flush=True)
sys.stdin.read()
"""
    pipe = subprocess.PIPE
    with (
        TemporaryDirectory(prefix="pv-") as folder,
        subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, cwd="/") as process,
    ):
        assert process.stdout
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as connection:
            process.stdout.readline()
            with socket.create_server(("127.0.0.1", port)):  # own Plugvisor, which has just come
                assert not is_own(connection, Path(folder))
            assert not is_own(connection, Path(folder))
            (Path(folder) / "users.conf").write_text("service_uid=65534\n")
            assert is_own(connection, Path(folder)), "the service of a supervisord that is root"
        process.communicate()


def test_what_listens_at_another_address_does_not_matter(tmp_path: Path) -> None:
    """The user of each socket is that of the address which the connection has, or of all addresses."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        host, port = listener.getsockname()
        nobody = b"", 0
        assert list(peer._list_users((socket.inet_aton(host), port), nobody)) == [os.geteuid()]
        assert list(peer._list_users((socket.inet_aton("127.0.0.2"), port), nobody)) == []
        assert is_own(client, tmp_path)
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        end = socket.inet_aton("127.0.0.2"), port
        assert list(peer._list_users(end, nobody)) == [os.geteuid()], "all addresses"


def test_whose_process_listens(tmp_path: Path) -> None:
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with (
            socket.create_server((host, 0), family=family) as listener,
            socket.create_connection(listener.getsockname()[:2]) as connection,
        ):
            assert is_own(connection, tmp_path)


# -- the command line


def run(*arguments: str) -> int:
    return main(list(arguments))


def test_options_take_the_place_of_variables(
    listening: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLUGVISOR_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PLUGVISOR_TOKEN", "pv_of-the-variable")
    monkeypatch.delenv("PLUGVISOR_TOKEN_FILE", raising=False)
    file = tmp_path / "token"
    file.write_text("pv_of-the-file\n")
    for token, sent in (("pv_given", "Bearer pv_given"), (f"@{file}", "Bearer pv_of-the-file")):
        listening.answers = [(200, b'{"name": "ops", "role": "viewer", "plugins": ["*"]}')]
        assert run("whoami", "--url", listening.url, "--token", token) == 0
        assert listening.requests[-1].headers["Authorization"] == sent
        assert capsys.readouterr().out == "ops: role viewer\n"


@pytest.mark.parametrize("name", ["PLUGVISOR_TOKEN", "PLUGVISOR_TOKEN_FILE"])
def test_the_token_of_the_variables_is_for_their_address(
    name: str,
    listening: ScriptedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "token"
    file.write_text("pv_of-the-variable\n")
    value = str(file) if name.endswith("_FILE") else "pv_of-the-variable"
    for url, sent in (
        ("http://127.0.0.1:1", None),
        ("", "Bearer pv_of-the-variable"),
        (f"{listening.url}/", "Bearer pv_of-the-variable"),
    ):
        for other in ("PLUGVISOR_TOKEN", "PLUGVISOR_TOKEN_FILE"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, value)
        monkeypatch.setenv("PLUGVISOR_URL", url)
        listening.answers = [(401, make_problem(detail="a token is needed"))]
        assert run("whoami", "--url", listening.url) == 1
        assert listening.requests[-1].headers.get("Authorization") == sent
        assert ("none was given" in capsys.readouterr().err) == (sent is None)


@pytest.mark.parametrize("option", ["--token=@", "--url=localhost:80"])
def test_an_option_that_cannot_be_used(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("PLUGVISOR_URL", "PLUGVISOR_TOKEN", "PLUGVISOR_TOKEN_FILE"):
        monkeypatch.setenv(name, "")
    assert run("whoami", option) == 2
    assert capsys.readouterr().err.startswith("plugvisor: cannot use ")


# -- TLS


@contextmanager
def serve_tls(folder: Path) -> Iterator[ScriptedServer]:
    """A scripted server over TLS."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -subj /CN=localhost -days 1 "
        "-addext subjectAltName=DNS:localhost"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    server = ScriptedServer()
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that does not trust it goes away
    with run_server(server):
        yield server


def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_tls(tmp_path) as server:
        url = f"https://localhost:{server.server_address[1]}"
        environ = {"PLUGVISOR_URL": url, "PLUGVISOR_TOKEN": "pv_x", "PLUGVISOR_RUN_DIR": str(tmp_path)}
        with pytest.raises(
            NoAnswer, match=f"cannot trust the service at {url}: self.signed certificate; SSL_CERT_FILE"
        ):
            Client.from_env(environ).call("GET", "/plugins")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
        assert ask(server, **environ) == "Bearer pv_x"
        [request] = server.requests
        assert request.path == "/plugins", "nothing was sent to whom is not trusted"


def test_a_package_over_tls_arrives_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What TLS itself sends to the client is no answer that ends the sending."""
    package = tmp_path / "x.zip"
    package.write_bytes(b"PK\x03\x04" + os.urandom(3_000_000))
    with serve_tls(tmp_path) as server, package.open("rb") as file:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
        server.answers = [(202, b'{"id": "7"}')]
        client = Client(f"https://localhost:{server.server_address[1]}", Credential("pv_x", "a test"))
        assert send_package(client, file, "x.zip", {}, quiet=True) == {"id": "7"}
        assert server.requests[0].body == package.read_bytes()


def test_unix_sockets_are_for_commands_alone() -> None:
    """The variable is one for clients, too: the service has no address for browsers then."""
    assert Settings.from_env({"PLUGVISOR_URL": "unix:///run/x.sock"}).public_url is None

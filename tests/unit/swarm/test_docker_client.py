"""Calls to a Docker Engine, any of several, on the wire."""

from __future__ import annotations

import asyncio
import functools
import shutil
import ssl
import subprocess
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.swarm.docker.call_names import name_call
from plugvisor.engines.swarm.docker.client import DockerClient, DockerError
from plugvisor.errors import SupervisorConfused, SupervisorUnavailable
from plugvisor.swarm_settings import SwarmSettings

from tests.helpers.fake_docker import CLOSE, HANG, FakeDocker, Fault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

NO_LEADER = Fault(
    500, "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few …"
)
TIMED_OUT = Fault(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
UNAVAILABLE = Fault(500, "rpc error: code = Unavailable desc = connection error")
LOST_OFFICE = Fault(500, "rpc error: code = Unknown desc = failed to process the request: node losing leader status")
LOCKED = Fault(503, "Swarm is encrypted and needs to be unlocked before it can be used. Please use …")
REDIRECT = Fault(302)
NO_MANAGER = Fault(503, 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" …')

BOUND_SECONDS = 2.0
"""Of calls of which an Engine does not answer one; the other has half of it, on two busy cores."""
PATIENT_SECONDS = 30.0
"""Of all other calls: what is tested is the answer, not how long it takes."""


def choose_bound(*faults: Fault | None) -> float:
    """How long a call may take, in seconds, of which nothing but hanging takes any time."""
    return BOUND_SECONDS if HANG in faults else PATIENT_SECONDS


def with_engines(
    folder: Path, test: Callable[[DockerClient, FakeDocker, FakeDocker], Awaitable[None]], **options: Any
) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            engines = [await stack.enter_async_context(FakeDocker(folder, name, **options)) for name in ("a", "b")]
            client = DockerClient(SwarmSettings(docker_hosts=tuple(engine.url for engine in engines)))
            client.call = functools.partial(client.call, timeout_seconds=PATIENT_SECONDS)
            try:
                await test(client, *engines)
            finally:
                await client.close()

    asyncio.run(run())


@pytest.mark.parametrize(("theirs", "used"), [("1.41", "1.41"), ("1.45", "1.45"), ("1.52", "1.47"), ("2.0", "1.47")])
def test_the_newest_version_that_both_know_is_used(tmp_path: Path, theirs: str, used: str) -> None:
    async def test(client: DockerClient, engine: FakeDocker, _: FakeDocker) -> None:
        assert await client.call("GET", "/services") == []
        assert engine.calls == [f"GET /v{used}/services"]

    with_engines(tmp_path, test, api_version=theirs)


@pytest.mark.parametrize("version", ["1.40", "0.1", "", "x"])
def test_an_engine_that_is_too_old_or_none_is_said_in_words(tmp_path: Path, version: str) -> None:
    async def test(client: DockerClient, engine: FakeDocker, _: FakeDocker) -> None:
        with pytest.raises(SupervisorUnavailable, match=r"at least version 20\.10|something else"):
            await client.call("GET", "/services")
        assert engine.calls == []

    with_engines(tmp_path, test, api_version=version)


@pytest.mark.parametrize("fault", [HANG, CLOSE, NO_LEADER, TIMED_OUT, UNAVAILABLE, NO_MANAGER])
def test_a_read_goes_on_to_the_next_manager_which_is_the_first_then(tmp_path: Path, fault: Fault) -> None:
    async def test(client: DockerClient, first: FakeDocker, second: FakeDocker) -> None:
        await client.call("GET", "/services")  # what is loaded at the first call is not a part of the time
        first.answers["GET /tasks"] = fault
        second.answers["GET /tasks"] = [{"ID": "x"}]
        for _ in range(2):
            assert await client.call("GET", "/tasks", timeout_seconds=choose_bound(fault)) == [{"ID": "x"}]
        assert (len(first.calls), len(second.calls)) == (2, 2)

    with_engines(tmp_path, test)


@pytest.mark.parametrize("fault", [HANG, CLOSE, TIMED_OUT, UNAVAILABLE, LOST_OFFICE])
def test_a_change_that_may_have_been_made_is_not_repeated(tmp_path: Path, fault: Fault) -> None:
    async def test(client: DockerClient, first: FakeDocker, second: FakeDocker) -> None:
        first.answers["POST /services/create"] = fault
        second.answers["POST /services/create"] = {"ID": "x"}
        with pytest.raises(SupervisorUnavailable, match="whether the change was made is not known"):
            await client.call("POST", "/services/create", body={"Name": "x"}, timeout_seconds=choose_bound(fault))
        assert second.calls == []
        assert await client.call("POST", "/services/create", body={"Name": "x"}) == {"ID": "x"}

    with_engines(tmp_path, test)


@pytest.mark.parametrize("fault", [NO_LEADER, NO_MANAGER, LOCKED, REDIRECT, None])
def test_a_change_that_was_certainly_not_made_goes_to_the_next_manager(tmp_path: Path, fault: Fault | None) -> None:
    async def test(client: DockerClient, first: FakeDocker, second: FakeDocker) -> None:
        first.answers["POST /services/create"] = fault
        if fault is None:  # it cannot even be connected to
            first.path.unlink()
        second.answers["POST /services/create"] = {"ID": "x"}
        assert await client.call("POST", "/services/create", body={"Name": "x"}) == {"ID": "x"}
        assert second.bodies == [b'{"Name":"x"}']

    with_engines(tmp_path, test)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ((HANG, NO_LEADER), "lost its quorum"),
        ((NO_MANAGER, HANG), "is not a manager of a swarm"),
        ((LOCKED, CLOSE), "the swarm is locked"),
        ((HANG, HANG), "answers in time"),
        ((CLOSE, CLOSE), "no manager of the swarm answers"),
    ],
)
def test_the_most_telling_problem_is_told_without_paths(
    tmp_path: Path, faults: tuple[Fault, Fault], words: str
) -> None:
    async def test(client: DockerClient, first: FakeDocker, second: FakeDocker) -> None:
        await client.call("GET", "/services")
        first.answers["GET /nodes"], second.answers["GET /nodes"] = faults
        with pytest.raises(SupervisorUnavailable, match=words) as caught:
            await client.call("GET", "/nodes", timeout_seconds=choose_bound(*faults))
        assert str(tmp_path) not in str(caught.value)
        first.answers["GET /nodes"] = second.answers["GET /nodes"] = []
        assert await client.call("GET", "/nodes") == []

    with_engines(tmp_path, test)


def test_an_error_about_the_call_is_the_callers(tmp_path: Path) -> None:
    async def test(client: DockerClient, first: FakeDocker, second: FakeDocker) -> None:
        first.answers["POST /services/x/update"] = Fault(500, "rpc error: … update out of sequence")
        with pytest.raises(DockerError, match="out of sequence") as caught:
            await client.call("POST", "/services/x/update", query={"version": 3}, body={})
        assert caught.value.status == 500
        assert (first.calls, second.calls) == (["POST /v1.41/services/x/update?version=3"], [])

    with_engines(tmp_path, test)


def test_what_is_not_json_is_not_understood(tmp_path: Path) -> None:
    async def test(client: DockerClient, engine: FakeDocker, _: FakeDocker) -> None:
        engine.answers["GET /tasks"] = b"<html>"
        with pytest.raises(SupervisorConfused):
            await client.call("GET", "/tasks")
        engine.answers["GET /tasks"] = b"[" * 100_000
        with pytest.raises(SupervisorConfused):
            await client.call("GET", "/tasks")
        engine.answers["DELETE /services/x"] = b""
        assert await client.call("DELETE", "/services/x") is None

    with_engines(tmp_path, test)


def test_filters_are_sent_as_json(tmp_path: Path) -> None:
    async def test(client: DockerClient, engine: FakeDocker, _: FakeDocker) -> None:
        await client.call("GET", "/tasks", query={"filters": {"label": ["plugvisor.id"]}})
        assert engine.calls == ['GET /v1.41/tasks?filters={"label":["plugvisor.id"]}']

    with_engines(tmp_path, test)


def test_a_stream_is_read_as_it_arrives_and_ends_when_it_falls_silent(tmp_path: Path) -> None:
    async def test(client: DockerClient, engine: FakeDocker, _: FakeDocker) -> None:
        engine.send_event({"Type": "node"})
        async with client.stream("GET", "/events", silence_seconds=2.0) as chunks:
            assert await anext(chunks) == b'{"Type":"node"}\n'
            with pytest.raises(SupervisorUnavailable):
                await anext(chunks)
        with pytest.raises(DockerError):
            async with client.stream("GET", "/services/x/logs"):
                pass

    with_engines(tmp_path, test)


def test_a_manager_that_has_events_need_not_be_able_to_do_more(tmp_path: Path) -> None:
    async def test(client: DockerClient, first: FakeDocker, second: FakeDocker) -> None:
        second.send_event({"Type": "node"})
        async with client.stream("GET", "/events", url=second.url) as chunks:
            assert await anext(chunks)
            assert await client.call("GET", "/nodes") == []
        assert (len(first.calls), second.calls) == (1, [])

    with_engines(tmp_path, test)


def test_every_call_is_reported_by_a_name_without_ids(tmp_path: Path) -> None:
    async def test(client: DockerClient, engine: FakeDocker, _: FakeDocker) -> None:
        reported: list[tuple[str, bool]] = []
        client.on_call.append(lambda name, _seconds, is_answered: reported.append((name, is_answered)))
        with pytest.raises(DockerError):
            await client.call("GET", "/services/abc")
        engine.answers["POST /nodes/abc/update"] = CLOSE
        with pytest.raises(SupervisorUnavailable):
            await client.call("POST", "/nodes/abc/update")
        assert reported == [("GET /services/{id}", True), ("POST /nodes/{id}/update", False)]

    with_engines(tmp_path, test)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/tasks", "GET /tasks"),
        ("/services/create", "GET /services/create"),
        ("/images/registry:5000/a/b@sha256:1/push", "GET /images/{id}/push"),
        ("/configs/x", "GET /configs/{id}"),
    ],
)
def test_there_are_few_names(path: str, name: str) -> None:
    assert name_call("GET", path) == name


def test_certificates_that_cannot_be_read_are_said_in_words(tmp_path: Path) -> None:
    async def run() -> None:
        client = DockerClient(SwarmSettings(docker_hosts=("tcp://127.0.0.1:1",), docker_certs=tmp_path))
        with pytest.raises(SupervisorUnavailable, match="certificates") as caught:
            await client.call("GET", "/nodes")
        assert str(tmp_path) not in str(caught.value)

    asyncio.run(run())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, and certificates of it for an Engine and for a client."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=ca", *authority)
    for name in ("cert", "server-cert"):
        openssl("req", *key, "-keyout", f"{name}-key.pem", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "names", "-CAcreateserial")
        openssl("x509", "-req", "-CA", "ca.pem", "-CAkey", "ca-key.pem", *signed)
    (folder / "cert-key.pem").rename(folder / "key.pem")
    return folder


@pytest.mark.parametrize("is_trusted", [True, False])
def test_an_engine_over_tls_asks_for_a_certificate(tmp_path: Path, certificates: Path, is_trusted: bool) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates / "server-cert.pem", certificates / "server-cert-key.pem")
    if is_trusted:
        tls.load_verify_locations(certificates / "ca.pem")
    tls.verify_mode = ssl.CERT_REQUIRED

    async def run() -> None:
        async with FakeDocker(tmp_path, tls=tls) as engine:
            engine.answers["POST /services/create"] = {"ID": "x"}
            client = DockerClient(SwarmSettings(docker_hosts=(engine.url,), docker_certs=certificates))
            try:
                if is_trusted:
                    assert await client.call("POST", "/services/create", body={}) == {"ID": "x"}
                else:
                    with pytest.raises(SupervisorUnavailable, match="certificates"):
                        await client.call("POST", "/services/create", body={})
            finally:
                await client.close()

    asyncio.run(run())

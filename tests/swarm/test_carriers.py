"""How a plugin's folder gets onto the nodes: real configs, a real Engine that builds, a real registry."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.swarm.carriers.base_image import CONTENTS_FILE
from plugvisor.engines.swarm.carriers.carrier import Carried, Carrier
from plugvisor.engines.swarm.carriers.folder import find_digest
from plugvisor.engines.swarm.docker.client import DockerClient
from plugvisor.engines.swarm.services.program import render_program
from plugvisor.engines.swarm.services.spec import apply_program, set_replicas
from plugvisor.errors import StartFailed, SupervisorUnavailable
from plugvisor.plugins.manifest import read_manifest
from plugvisor.settings import Settings

from tests.helpers.swarm.registry import Registry, run_registry
from tests.helpers.swarm.stack import remove_everything
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from plugvisor.engines.swarm.services.program import SwarmProgram

    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.stack import SwarmStack

TINY = "plugvisor-tests-tiny:1"
"""An image with nothing but what a build runs in it: the Plugvisor image takes long to push."""
MANIFEST = """\
[plugin]
id = "{id}"
command = ["/bin/sh", "-c", "cat text; exec sleep 1000"]

[plugin_runtime.environment]
PASSWORD = "keep this"
"""
WITH_CREDENTIALS = "user:$2b$05$cOCNt4UG1wF2SbriNscQYeqINEesun9SvlGSf62EqCspuAdB9gkkm"


class Cluster:
    """A lab, and a plugin's folder that is brought to it."""

    def __init__(self, lab: SwarmLab, path: Path, **environ: str) -> None:
        self.lab = lab
        self.path = path
        self.environ = {
            "PLUGVISOR_ENGINE": "swarm",
            "PLUGVISOR_DOCKER_HOST": f"unix://{lab.nodes[0].socket}",
            "PLUGVISOR_IMAGE": TINY,
            "PLUGVISOR_PLUGINS_DIR": str(path / "plugins"),
            "PLUGVISOR_RUN_DIR": str(path / "run"),
            **environ,
        }

    @property
    def settings(self) -> Settings:
        return Settings.from_env(self.environ)

    def write_plugin(self, plugin_id: str = "echo", text: str = "one\n") -> Path:
        folder = self.path / "plugins" / plugin_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugin.toml").write_text(MANIFEST.format(id=plugin_id))
        (folder / "text").write_text(text)
        return folder

    def render(self, folder: Path) -> SwarmProgram:
        return render_program(read_manifest(folder), folder, self.settings)

    def run(self, work: Callable[[Carrier, DockerClient], Awaitable[Any]]) -> Any:
        """Do something with a new carrier, as a service that has just been started."""

        async def do() -> Any:
            client = DockerClient(self.settings.swarm)
            try:
                return await work(Carrier(client, self.settings), client)
            finally:
                await client.close()

        return asyncio.run(do())

    def carry(self, folder: Path) -> Carried:
        """Bring it, again while managers do not answer in time: on a busy machine, or one of them is just back."""
        program = self.render(folder)

        def try_to_carry() -> Carried | None:
            with contextlib.suppress(SupervisorUnavailable):
                return self.run(lambda carrier, _client: carrier.carry(program))  # type: ignore[no-any-return]
            return None

        carried: Carried = wait_for(try_to_carry, "a manager to answer in time")
        return carried

    def create_service(self, folder: Path) -> dict[str, Any]:
        """A service of a plugin, without tasks; returns it as the Engine describes it."""

        async def create(carrier: Carrier, client: DockerClient) -> Any:
            program = self.render(folder)
            spec = set_replicas(apply_program(None, program, await carrier.carry(program)), 0)
            created = await client.call("POST", "/services/create", body=spec)
            return await client.call("GET", f"/services/{created['ID']}")

        return self.run(create)

    def list(self, kind: str) -> dict[str, str]:
        """The names of the swarm's configs or secrets, with their ids."""
        lines = self.lab.nodes[0].docker(kind, "ls", "--format", "{{.Name}} {{.ID}}").splitlines()
        return dict(line.split() for line in lines)


@pytest.fixture(scope="module")
def tiny(swarm_lab: SwarmLab) -> Iterator[str]:
    program = shutil.which("rm")
    assert program
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.split()
    archive = swarm_lab.folder / "tiny.tar"
    with tarfile.open(archive, "w") as entries:
        entries.add(os.path.realpath(program), "bin/rm")
        for library in {word for word in linked if word.startswith("/")}:
            entries.add(os.path.realpath(library), library)
    node = swarm_lab.nodes[0]
    node.docker("import", str(archive), TINY)
    yield TINY
    node.docker("image", "prune", "--all", "--force", "--filter", "label=plugvisor.id")
    node.docker("rmi", TINY)


@pytest.fixture
def cluster(swarm_lab: SwarmLab, tiny: str, tmp_path: Path) -> Iterator[Cluster]:
    yield Cluster(swarm_lab, tmp_path)
    remove_everything(swarm_lab)


@pytest.fixture
def registry(cluster: Cluster, tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "registry").mkdir()
    with run_registry(cluster.lab, tmp_path / "registry") as running:
        cluster.environ["PLUGVISOR_REGISTRY"] = running.address
        yield running


# -- configs


def test_a_folder_is_brought_once(cluster: Cluster) -> None:
    """Also for a service that was started anew; another content gets other configs, beside those before."""
    folder = cluster.write_plugin()
    first = cluster.carry(folder)
    assert cluster.carry(folder) == first
    assert (len(cluster.list("config")), len(cluster.list("secret"))) == (1, 1)
    assert first.label == f"configs:{find_digest(folder).sha256}"
    cluster.write_plugin(text="two\n")
    second = cluster.carry(folder)
    assert second.configs != first.configs
    assert second.secrets == first.secrets
    assert len(cluster.list("config")) == 2


def test_no_secret_is_shown(cluster: Cluster) -> None:
    """Nor is it in what the folder travels in, if it is not in the folder."""
    folder = cluster.write_plugin()
    service = cluster.create_service(folder)
    assert "keep this" not in json.dumps(service)
    secret = cluster.lab.nodes[0].docker("secret", "inspect", *cluster.list("secret"))
    assert "keep this" not in secret
    assert base64.b64encode(b"keep this").decode() not in secret


def test_a_large_folder_travels_in_parts(cluster: Cluster) -> None:
    folder = cluster.write_plugin()
    (folder / "random").write_bytes(os.urandom(880_000))
    carried = cluster.carry(folder)
    assert [reference["File"]["Name"] for reference in carried.configs] == [
        "/run/plugvisor/folder-0",
        "/run/plugvisor/folder-1",
    ]
    service = cluster.create_service(folder)
    shutil.rmtree(folder)
    assert cluster.run(lambda carrier, _client: carrier.restore({"echo": service})) == ["echo"]
    assert (folder / "random").stat().st_size == 880_000


def test_a_folder_that_is_too_large_changes_nothing(cluster: Cluster) -> None:
    folder = cluster.write_plugin()
    (folder / "random").write_bytes(os.urandom(1_000_000))
    with pytest.raises(StartFailed, match="larger than 900 KB"):
        cluster.carry(folder)
    assert cluster.list("config") == {}


def test_what_is_needed_no_more_is_removed_and_nothing_else(cluster: Cluster) -> None:
    """What a service has, and what it had before its last update, is kept; so is what others have made."""
    node = cluster.lab.nodes[0]
    (cluster.path / "theirs").write_text("theirs")
    node.docker("config", "create", "plugvisor-echo-theirs-0", str(cluster.path / "theirs"))
    node.docker("config", "create", "--label", "plugvisor.id=echo", "plugvisor-state", str(cluster.path / "theirs"))
    other = cluster.carry(cluster.write_plugin("other"))
    folder = cluster.write_plugin()
    cluster.carry(folder)
    folder = cluster.write_plugin(text="two\n")
    service = cluster.create_service(folder)
    cluster.write_plugin(text="three\n")
    unused = cluster.carry(folder)
    before = cluster.list("config")

    async def clean(carrier: Carrier, client: DockerClient) -> None:
        present = await client.call("GET", f"/services/{service['ID']}")
        present["PreviousSpec"] = {
            "TaskTemplate": {"ContainerSpec": {"Image": TINY, "Configs": list(unused.configs), "Secrets": None}}
        }
        await carrier.clean("echo", [present])

    cluster.run(clean)
    kept = {reference["ConfigName"] for reference in (*unused.configs, *other.configs)}
    kept |= {config["ConfigName"] for config in service["Spec"]["TaskTemplate"]["ContainerSpec"]["Configs"]}
    assert cluster.list("config").keys() == kept | {"plugvisor-echo-theirs-0", "plugvisor-state"}
    assert len(before) == len(kept) + 3
    assert len(cluster.list("secret")) == 2

    node.docker("service", "rm", service["ID"])
    cluster.run(lambda carrier, _client: carrier.clean("echo"))
    theirs = {"plugvisor-echo-theirs-0", "plugvisor-state", other.configs[0]["ConfigName"]}
    assert cluster.list("config").keys() == theirs
    assert cluster.list("secret").keys() == {other.secrets[0]["SecretName"]}


def test_somebody_elses_config_is_left_alone(cluster: Cluster) -> None:
    folder = cluster.write_plugin()
    name = cluster.carry(folder).configs[0]["ConfigName"]
    remove_everything(cluster.lab)
    (cluster.path / "theirs").write_text("theirs")
    cluster.lab.nodes[0].docker("config", "create", name, str(cluster.path / "theirs"))
    with pytest.raises(StartFailed, match="was not made by Plugvisor"):
        cluster.carry(folder)
    cluster.run(lambda carrier, _client: carrier.clean("echo"))
    assert cluster.list("config").keys() == {name}


# -- what a service on another manager has


def restore(cluster: Cluster, service: Mapping[str, Any], plugin_id: str = "echo") -> list[str]:
    found: list[str] = cluster.run(lambda carrier, _client: carrier.restore({plugin_id: service}))
    return found


def test_a_folder_is_restored_from_configs(cluster: Cluster) -> None:
    folder = cluster.write_plugin()
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o755)
    digest = find_digest(folder)
    service = cluster.create_service(folder)
    shutil.rmtree(folder)
    assert restore(cluster, service) == ["echo"]
    assert find_digest(folder) == digest
    assert [path.name for path in folder.parent.iterdir()] == ["echo"]


def test_what_is_there_is_not_restored(cluster: Cluster) -> None:
    folder = cluster.write_plugin()
    service = cluster.create_service(folder)
    (folder / "text").write_text("newer")
    assert restore(cluster, service) == []
    assert (folder / "text").read_text() == "newer"


def test_what_cannot_be_restored_does_not_keep_the_others(cluster: Cluster) -> None:
    lost, found = cluster.write_plugin("lost"), cluster.write_plugin("found")
    services = {"lost": cluster.create_service(lost), "found": cluster.create_service(found)}
    services["lost"]["Spec"]["Labels"]["plugvisor.carrier"] = f"configs:{'0' * 64}"
    labels = {"plugvisor.id": "odd", "plugvisor.folder": str(cluster.path / "plugins/odd")}
    services = {"odd": {"Spec": {"Labels": labels, "TaskTemplate": {}}}, **services}
    shutil.rmtree(cluster.path / "plugins")
    assert cluster.run(lambda carrier, _client: carrier.restore(services)) == ["found"]
    assert not lost.exists()


@pytest.mark.parametrize("place", ["elsewhere", "plugins/../elsewhere"])
def test_nothing_is_restored_outside_the_plugins_folders(cluster: Cluster, place: str) -> None:
    service = cluster.create_service(cluster.write_plugin())
    service["Spec"]["Labels"]["plugvisor.folder"] = f"{cluster.path}/{place}/echo"
    assert restore(cluster, service) == []
    assert not (cluster.path / "elsewhere").exists()


def test_an_installed_version_is_restored_as_one(cluster: Cluster) -> None:
    cluster.environ["PLUGVISOR_INSTALL_DIR"] = str(cluster.path / "installed")
    root = cluster.path / "installed" / "echo"
    folder = root / "versions" / "1.0-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "plugin.toml").write_text(MANIFEST.format(id="echo"))
    version = {"version": "1.0", "sha256": "0123456789ab" + "0" * 52, "source": "echo.zip", "installed_at": 1.0}
    record = {"id": "echo", "current": folder.name, "versions": {folder.name: version}}
    (root / "installed.json").write_text(json.dumps(record))
    (root / "current").symlink_to(f"versions/{folder.name}")
    service = cluster.create_service(folder)
    shutil.rmtree(root)
    assert restore(cluster, service) == ["echo"]
    assert os.readlink(root / "current") == f"versions/{folder.name}"
    assert json.loads((root / "installed.json").read_text()) == record


# -- a registry


def test_a_folder_is_pushed_once(cluster: Cluster, registry: Registry) -> None:
    """Also for a service that was started anew; another content gives another image, and the id any repository."""
    folder = cluster.write_plugin("Odd__Id-")
    first = cluster.carry(folder)
    name, _, digest = first.image.partition("@")
    assert (name, first.label) == (f"{registry.address}/plugvisor-odd-id", f"registry:{first.image}")
    assert json.loads(registry.fetch(f"plugvisor-odd-id/manifests/{digest}"))["schemaVersion"] == 2
    assert not first.configs
    assert cluster.carry(folder) == first
    assert len(json.loads(registry.fetch("plugvisor-odd-id/tags/list"))["tags"]) == 1
    cluster.write_plugin("Odd__Id-", text="two\n")
    assert cluster.carry(folder).image != first.image


def test_an_image_holds_the_folder_and_nothing_from_before(cluster: Cluster, registry: Registry) -> None:
    """Of a folder at that path in the image that it is made from nothing is left."""
    folder = cluster.write_plugin()
    (folder / "stale").write_text("")
    cluster.environ["PLUGVISOR_IMAGE"] = cluster.carry(folder).image
    (folder / "stale").unlink()
    (folder / "empty").mkdir()
    digest = find_digest(folder)
    service = cluster.create_service(folder)
    shutil.rmtree(folder)
    assert restore(cluster, service) == ["echo"]
    assert find_digest(folder) == digest
    assert cluster.lab.nodes[0].docker("ps", "--all", "--quiet") == ""


def test_a_folder_that_has_changed_since_it_was_read_does_not_get_the_image_of_what_it_held(
    cluster: Cluster, registry: Registry
) -> None:
    folder = cluster.write_plugin(text="one\n")
    read_before = cluster.render(folder)
    cluster.write_plugin(text="two\n")

    async def carry_twice(carrier: Carrier, _client: DockerClient) -> list[Carried]:
        changed = await carrier.carry(read_before)
        cluster.write_plugin(text="one\n")
        return [changed, await carrier.carry(read_before)]

    changed, back = cluster.run(carry_twice)
    assert changed.image != back.image
    for carried, text in ((back, "one\n"), (changed, "two\n")):
        shutil.rmtree(folder)
        labels = {"plugvisor.id": "echo", "plugvisor.folder": str(folder), "plugvisor.carrier": carried.label}
        task = {"ContainerSpec": {"Image": carried.image}}
        assert restore(cluster, {"Spec": {"Labels": labels, "TaskTemplate": task}}) == ["echo"]
        assert (folder / "text").read_text() == text


def test_a_path_can_have_any_name(cluster: Cluster, registry: Registry) -> None:
    folder = cluster.write_plugin()
    odd = folder.with_name("a 'b' \"c\" $HOME ${X} [d]* 名")
    folder.rename(odd)
    service = cluster.create_service(odd)
    shutil.rmtree(odd)
    assert restore(cluster, service) == ["echo"]
    assert (odd / "text").read_text() == "one\n"


def test_the_registry_is_away(cluster: Cluster, registry: Registry) -> None:
    """What it has had can be started all the same: nodes may have it."""
    folder = cluster.write_plugin()
    first = cluster.carry(folder)
    registry.down()
    assert cluster.carry(folder).image == first.image
    cluster.write_plugin(text="two\n")
    with pytest.raises(StartFailed, match="the registry cannot be reached") as raised:
        cluster.carry(folder)
    assert registry.address not in str(raised.value)
    registry.up()
    assert cluster.carry(folder).image != first.image


def test_a_registry_that_is_silent(cluster: Cluster, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for by one plugin after the other."""
    known = cluster.write_plugin("known")
    image = cluster.carry(known).image
    registry.pause()
    monkeypatch.setattr("plugvisor.engines.swarm.carriers.builder.SILENCE_SECONDS", 2.0)
    programs = [cluster.render(cluster.write_plugin(f"new{number}")) for number in range(5)]

    async def carry_all(carrier: Carrier, _client: DockerClient) -> list[object]:
        return await asyncio.gather(*map(carrier.carry, programs), return_exceptions=True)

    for failure in cluster.run(carry_all):
        assert isinstance(failure, StartFailed)
        assert "the registry cannot be reached" in str(failure)
    assert cluster.carry(known).image == image


def test_a_registry_with_a_password(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "users").write_text(WITH_CREDENTIALS + "\n")
    folder = cluster.write_plugin()
    with run_registry(cluster.lab, tmp_path / "private", tmp_path / "users") as running:
        cluster.environ |= {"PLUGVISOR_REGISTRY": running.address}
        with pytest.raises(StartFailed, match="does not accept the credentials"):
            cluster.carry(folder)
        cluster.environ["PLUGVISOR_REGISTRY_AUTH_FILE"] = str(tmp_path / "auth")
        with pytest.raises(StartFailed, match="cannot read PLUGVISOR_REGISTRY_AUTH_FILE: No such file"):
            cluster.carry(folder)
        (tmp_path / "auth").write_text("user")
        with pytest.raises(StartFailed, match="must contain one line, user:password"):
            cluster.carry(folder)
        (tmp_path / "auth").write_text("user:wrong password\n")
        with pytest.raises(StartFailed, match="does not accept the credentials"):
            cluster.carry(folder)
        (tmp_path / "auth").write_text("user:pass:word\n")
        carried = cluster.carry(folder)
        assert carried.image.startswith(running.address)
        assert "pass" not in repr(carried)
        auth = json.loads(base64.urlsafe_b64decode(carried.headers["X-Registry-Auth"]))
        assert (auth["username"], auth["password"]) == ("user", "pass:word")


def test_a_node_pulls_with_the_credentials_of_the_service(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "users").write_text(WITH_CREDENTIALS + "\n")
    (tmp_path / "auth").write_text("user:pass:word")
    folder, node = cluster.write_plugin(), cluster.lab.nodes[1]
    node.shut_down()
    cluster.lab.start(node, offline=False)
    cluster.lab.wait_until_whole()
    with run_registry(cluster.lab, tmp_path / "private", tmp_path / "users") as running:
        cluster.environ["PLUGVISOR_REGISTRY"] = running.address
        cluster.environ["PLUGVISOR_REGISTRY_AUTH_FILE"] = str(tmp_path / "auth")
        carried = cluster.carry(folder)

        def create(name: str, headers: Mapping[str, str]) -> None:
            container = {"Image": carried.image, "Command": ["/bin/rm", "--version"]}
            task = {
                "ContainerSpec": container,
                "RestartPolicy": {"Condition": "none"},
                "Placement": {"Constraints": [f"node.hostname=={node.name}"]},
            }
            body = {"Name": name, "TaskTemplate": task}
            cluster.run(lambda _carrier, client: client.call("POST", "/services/create", body=body, headers=headers))

        def find_state(name: str) -> str:
            return cluster.lab.nodes[0].docker("service", "ps", "--format", "{{.CurrentState}}", name).split(" ")[0]

        create("without", {})
        wait_for(lambda: find_state("without") == "Rejected", "the node to be rejected")
        create("with", carried.headers)
        wait_for(lambda: find_state("with") == "Complete", "the node to run the image")
    node.shut_down()
    cluster.lab.start(node)
    cluster.lab.wait_until_whole()


def test_a_registry_that_was_emptied(
    cluster: Cluster, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the image again at the next start, if the last push is not just past."""
    monkeypatch.setattr("plugvisor.engines.swarm.carriers.images._TRUSTED_SECONDS", -1.0)
    program = cluster.render(cluster.write_plugin())

    async def carry_twice(carrier: Carrier, _client: DockerClient) -> tuple[Carried, Carried]:
        first = await carrier.carry(program)
        registry.down()
        shutil.rmtree(tmp_path / "registry" / "data")
        registry.up()
        return first, await carrier.carry(program)

    first, second = cluster.run(carry_twice)
    assert second.image == first.image
    assert registry.fetch(f"plugvisor-echo/manifests/{first.image.partition('@')[2]}")


def test_another_manager_takes_the_image_that_there_is(cluster: Cluster, registry: Registry) -> None:
    """One that it built itself would have another digest, in the place of what services refer to."""
    folder = cluster.write_plugin()
    first = cluster.carry(folder)
    cluster.run(lambda carrier, _client: carrier.clean("echo"))  # now its Engine does not have it
    assert cluster.carry(folder).image == first.image


def test_the_engine_keeps_no_image_that_is_not_needed(cluster: Cluster, registry: Registry) -> None:
    folder = cluster.write_plugin()
    cluster.carry(folder)
    cluster.write_plugin(text="two\n")
    service = cluster.create_service(folder)
    node = cluster.lab.nodes[0]
    listed = ("images", "--format", "{{.Tag}}", f"{registry.address}/plugvisor-echo")
    assert len(node.docker(*listed).split()) == 2
    cluster.run(lambda carrier, _client: carrier.clean("echo", [service]))
    assert len(node.docker(*listed).split()) == 1
    assert restore(cluster, service) == []
    cluster.run(lambda carrier, _client: carrier.clean("echo"))
    assert node.docker(*listed) == ""


def test_an_image_that_cannot_be_had(cluster: Cluster, registry: Registry) -> None:
    cluster.environ["PLUGVISOR_IMAGE"] = f"{registry.address}/none:1"
    with pytest.raises(StartFailed, match="cannot be had: name another as PLUGVISOR_IMAGE"):
        cluster.carry(cluster.write_plugin())
    assert cluster.list("secret") == {}


def test_no_image_is_set(cluster: Cluster) -> None:
    cluster.environ["PLUGVISOR_IMAGE"] = ""
    folder = cluster.write_plugin()
    with pytest.raises(StartFailed, match="PLUGVISOR_IMAGE is not set"):
        cluster.carry(folder)


# -- the command, and the plugins that the image holds already


def build(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("plugvisor") or "plugvisor", "image", "build", *words]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **cluster.environ}, capture_output=True, text=True, check=False
    )


def test_an_image_for_all_plugins(swarm_stack: SwarmStack, image: str) -> None:
    """Whose plugins run without configs, in the folder in which they are in it."""
    cluster = Cluster(swarm_stack.lab, swarm_stack.root, PLUGVISOR_IMAGE=image)
    folder = cluster.write_plugin()
    result = build(cluster, "--all", "--tag", "plugvisor-tests-common:1", str(folder.parent), "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["image"] == "plugvisor-tests-common:1"
    node = cluster.lab.nodes[0]
    try:
        run = ("run", "--rm", "--network=none", "--entrypoint", "sh", "plugvisor-tests-common:1", "-c")
        assert node.docker(*run, "ls -A /plugins; cat /plugins/echo/text").split() == [CONTENTS_FILE, "echo", "one"]
        contents = node.docker(*run, f"cat /plugins/{CONTENTS_FILE}")
        assert json.loads(contents)["folders"] == {"echo": find_digest(folder).sha256}
        # the service, in the same image: the plugins folder holds that file
        (folder.parent / CONTENTS_FILE).write_text(contents)
        cluster.environ["PLUGVISOR_IMAGE"] = "plugvisor-tests-common:1"
        carried = cluster.carry(folder)
        assert (carried.image, carried.label, carried.configs) == ("plugvisor-tests-common:1", "image", ())
        cluster.environ["PLUGVISOR_IMAGE"] = image  # which holds another folder
        assert cluster.carry(folder).label.startswith("configs:")
        cluster.environ["PLUGVISOR_IMAGE"] = "plugvisor-tests-common:1"
        cluster.write_plugin(text="two\n")
        assert cluster.carry(folder).label.startswith("configs:")
    finally:
        node.docker("rmi", "plugvisor-tests-common:1")


def test_an_image_for_each_plugin(cluster: Cluster, registry: Registry) -> None:
    """As the service makes them, which then has nothing to build."""
    folder = cluster.write_plugin()
    cluster.write_plugin("other")
    result = build(cluster, "echo", "--push", "--json")
    assert result.returncode == 0, result.stderr
    built = json.loads(result.stdout)
    assert cluster.carry(folder).image == f"{built['image'].rpartition(':')[0]}@{built['digest']}"
    result = build(cluster)
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["echo", "other"]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["nobody"], 1, "there is no plugin 'nobody'"),
        (["--push"], 2, "cannot push without PLUGVISOR_REGISTRY"),
        (["--all"], 2, "`--all` needs `--tag`"),
        (["--tag", "x"], 2, "`--tag` needs `--all`"),
        (["--all", "--tag", "no spaces"], 2, "cannot use --tag 'no spaces'"),
        (["--all", "--tag", "x", "/no/folder"], 2, "cannot read the folder '/no/folder'"),
        (["--all", "--tag", "x", "a", "b"], 2, "`--all` takes one folder"),
        (["broken"], 1, "broken: "),
        (["--all", "--tag", "x"], 1, "broken: "),
    ],
)
def test_what_cannot_be_built(tmp_path: Path, words: list[str], status: int, sentence: str) -> None:
    (tmp_path / "plugins" / "broken").mkdir(parents=True)
    (tmp_path / "plugins" / "broken" / "plugin.toml").write_text("[plugin")
    command = [shutil.which("plugvisor") or "plugvisor", "image", "build", *words]
    environ = {"PATH": os.environ["PATH"], "PLUGVISOR_PLUGINS_DIR": str(tmp_path / "plugins")}
    environ |= {"PLUGVISOR_DOCKER_HOST": f"unix://{tmp_path}/none.sock", "PLUGVISOR_IMAGE": "plugvisor"}
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (status, "")
    assert sentence in result.stderr


def test_no_engine(tmp_path: Path) -> None:
    (tmp_path / "plugins" / "echo").mkdir(parents=True)
    (tmp_path / "plugins" / "echo" / "plugin.toml").write_text(MANIFEST.format(id="echo"))
    command = [shutil.which("plugvisor") or "plugvisor", "image", "build"]
    environ = {"PATH": os.environ["PATH"], "PLUGVISOR_PLUGINS_DIR": str(tmp_path / "plugins")}
    environ |= {"PLUGVISOR_DOCKER_HOST": f"unix://{tmp_path}/none.sock", "PLUGVISOR_IMAGE": "plugvisor"}
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith("plugvisor: no manager of the swarm answers\n")

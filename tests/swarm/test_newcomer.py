"""The way of docs/cluster.md from one machine to three, word for word, and what follows when a node is lost.

Only two of its lines are others here: the image is not built, because that needs the internet, and the registry's
image is made of Debian's package.
"""

from __future__ import annotations

import base64
import fcntl
import json
import re
import shutil
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.manager.kept_state.rows import unpack

from tests.helpers.requirements import SWARM, skip_or_fail
from tests.helpers.swarm.lab import LABS, ROOT, SwarmLab
from tests.helpers.swarm.node import OUT_OF_SEQUENCE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.swarm.node import LabNode

BLOCK = re.compile(r"^```sh ([a-z0-9 ]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BUILD = re.compile(r"^docker build --tag (\S+) \.$", re.MULTILINE)
TOKEN = "SWMTKN-1-…"
IMAGE_SECONDS = 300.0
"""How long pulling the image, or making one of each plugin, may take."""
REGISTRY = """\
FROM {image}
COPY docker-registry registry.yml /
HEALTHCHECK NONE
ENTRYPOINT ["/docker-registry", "serve", "/registry.yml"]
"""
REGISTRY_CONFIG = """\
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000"}
"""


class Cluster:
    """Three machines that become a swarm."""

    def __init__(self, lab: SwarmLab, folder: Path, image: str) -> None:
        self.lab = lab
        self._folder = folder
        self._image = image
        self._token = ""

    def node(self, name: str) -> LabNode:
        return next(node for node in self.lab.nodes if node.name == name)

    def run(self, node: LabNode, script: str) -> str:
        """Run a part of the document on a node; returns what it prints."""
        script = BUILD.sub(rf"docker tag {self._image} \1", script).replace(TOKEN, self._token)
        deadline = time.monotonic() + IMAGE_SECONDS
        done = self._execute(node, script)
        # a node can change between the two requests of `docker node update`: whoever is told so repeats the command
        while OUT_OF_SEQUENCE in done.stderr and time.monotonic() < deadline:
            done = self._execute(node, script)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        if "join-token --quiet manager" in script:
            self._token = done.stdout.split()[-1]
        return done.stdout

    def _execute(self, node: LabNode, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._folder,
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": str(self._folder),
                "DOCKER_HOST": f"unix://{node.socket}",
            },
            capture_output=True,
            text=True,
            timeout=IMAGE_SECONDS,
            check=False,
        )

    def find(self, what: str) -> LabNode:
        """The node of the service, or that of a plugin, once it runs."""
        name = "plugvisor_service" if what == "service" else f"plugvisor-{what}"
        found: list[LabNode] = []

        def runs() -> bool:
            found[:] = [
                node for node in self.lab.nodes if node.pid and node.docker("ps", "--quiet", "--filter", f"name={name}")
            ]
            return len(found) == 1 and (what != "service" or self.answers(found[0]))

        wait_for(runs, f"{what} to run", IMAGE_SECONDS)
        return found[0]

    def answers(self, node: LabNode) -> bool:
        return bool(self.get(node, "/available").get("available"))

    def get(self, node: LabNode, path: str, *options: str) -> Any:
        """What the service on a node answers; nothing if it does not."""
        command = [*self.lab.enter(), "curl", "--silent", "--connect-timeout", "5", "--max-time", "60", *options]
        done = subprocess.run(
            [*command, f"http://{node.address}:48916{path}"], capture_output=True, text=True, check=False
        )
        return json.loads(done.stdout) if done.stdout.startswith("{") else {}

    def read_events(self, node: LabNode, last_id: str = "") -> str:
        """What a client of `GET /events` gets in its first seconds, once it gets something."""
        command = [*self.lab.enter(), "curl", "--silent", "--no-buffer", "--max-time", "3"]
        resume = ("--header", f"Last-Event-ID: {last_id}") if last_id else ()
        url = f"http://{node.address}:48916/events"
        got: list[str] = []

        def gets_something() -> bool:
            got[:] = [subprocess.run([*command, *resume, url], capture_output=True, text=True, check=False).stdout]
            return "\nid: " in f"\n{got[0]}"

        wait_for(gets_something, "an event")
        return got[0]

    @property
    def admin(self) -> str:
        return f"Authorization: Bearer {(self._folder / 'admin_code').read_text().strip()}"


@pytest.fixture(scope="module")
def cluster(swarm_possible: None, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three machines with an Engine each, of which the first has the image and that of a registry."""
    registry = shutil.which("docker-registry")
    if registry is None:
        skip_or_fail("there is no docker-registry", SWARM)
    folder = tmp_path_factory.mktemp("newcomer")
    for name in ("deploy", "docs"):
        (folder / name).symlink_to(ROOT / name)
    context = folder / "registry"
    context.mkdir()
    shutil.copy(str(registry), context / "docker-registry")
    (context / "registry.yml").write_text(REGISTRY_CONFIG)
    (context / "Dockerfile").write_text(REGISTRY.format(image=image))
    tag = f"plugvisor-test:registry-{uuid.uuid4().hex[:12]}"
    subprocess.run(["docker", "build", "--quiet", "--tag", tag, str(context)], capture_output=True, check=True)
    lab = SwarmLab(LABS / f"pv-newcomer-{uuid.uuid4().hex[:8]}")
    users = folder / "lab.users"
    user = users.open("a")
    fcntl.flock(user, fcntl.LOCK_SH)  # the lab ends by itself if this process is killed
    try:
        subprocess.run(["docker", "save", "--output", str(folder / "images.tar"), image, tag], check=True)
        lab.up(users=users, join=False, offline=False)
        first = lab.nodes[0]
        first.docker("load", "--quiet", "--input", str(folder / "images.tar"))
        first.docker("tag", tag, "registry:2")
        for node in lab.nodes:  # where an Engine listens by default
            subprocess.run(
                ["nsenter", f"--target={node.pid}", "--mount", "ln", "-sf", str(node.socket), "/run/docker.sock"],
                check=True,
            )
        yield Cluster(lab, folder, image)
    finally:
        lab.down()
        user.close()
        subprocess.run(["docker", "rmi", "--force", tag], capture_output=True, check=False)


@pytest.fixture(scope="module")
def walked(cluster: Cluster) -> Iterator[dict[str, str]]:
    """The document's blocks, run where it says, with what each has printed; the one that ends everything at the end."""
    printed = {}
    blocks = BLOCK.findall((ROOT / "docs" / "cluster.md").read_text(encoding="utf-8"))
    for where, script in blocks:
        if "last" in where.split():
            continue
        for name in where.split():
            node = cluster.node(name) if name.startswith("node") else cluster.find(name)
            printed[script] = cluster.run(node, script)
        if "deploy" in script and "registry.yml" in script:
            wait_for(lambda: "1/1" in cluster.lab.nodes[0].docker("service", "ls"), "the registry", IMAGE_SECONDS)
        if "deploy" in script and "stack.yml" in script:
            wait_for(lambda: has_running_samples(cluster), "the sample plugins to run", IMAGE_SECONDS)
    yield printed
    [last] = [script for where, script in blocks if "last" in where.split()]
    cluster.run(cluster.node("node1"), last)
    wait_for(lambda: not list_left(cluster), "its services and networks to go")


def list_left(cluster: Cluster) -> list[str]:
    """The services and networks of Plugvisor."""
    docker = cluster.lab.nodes[0].docker
    names = (docker(kind, "ls", "--format", "{{.Name}}") for kind in ("service", "network"))
    return [name for name in "\n".join(names).split() if name.startswith("plugvisor")]


def has_running_samples(cluster: Cluster) -> bool:
    plugins = cluster.get(cluster.find("service"), "/plugin/status").get("plugins", {})
    return {"heartbeat", "hello_http"} <= {name for name, plugin in plugins.items() if plugin["status"] == "running"}


def find_output(walked: dict[str, str], command: str) -> str:
    return next(output for script, output in walked.items() if command in script)


def test_the_document_works_word_for_word(cluster: Cluster, walked: dict[str, str]) -> None:
    assert find_output(walked, "docker node ls").count("Ready") == 3
    shown = find_output(walked, "plugvisor ls")
    assert re.search(r"^heartbeat .*node[123]", shown, re.MULTILINE), shown
    nodes = find_output(walked, "plugvisor nodes")
    assert re.findall(r"^(node[123]) +ready +manager", nodes, re.MULTILINE) == ["node1", "node2", "node3"], nodes
    wait_for(lambda: has_running_samples(cluster), "the sample plugins to run again", IMAGE_SECONDS)


def test_a_token_and_what_is_disabled_outlive_the_node_of_the_service(cluster: Cluster, walked: dict[str, str]) -> None:
    # not on the node of the registry, whose loss would be another test
    elsewhere = ("--detach", "--constraint-add", "node.hostname!=node1", "plugvisor_service")
    cluster.lab.nodes[0].docker("service", "update", *elsewhere)
    wait_for(lambda: cluster.find("service") is not cluster.lab.nodes[0], "the service to move", IMAGE_SECONDS)
    service = cluster.find("service")
    body = json.dumps({"name": "deploy", "role": "operator"})
    json_type = ("--header", "Content-Type: application/json")
    issued = cluster.get(service, "/identities", "--header", cluster.admin, *json_type, "--data", body)
    token = ("--header", f"Authorization: Bearer {issued['token']}")
    cluster.get(service, "/plugin/leaky/disable", "--header", cluster.admin, "--request", "POST")
    manager = next(node for node in cluster.lab.nodes if node is not service)
    wait_for(lambda: is_kept(manager, "disabled/leaky"), "the swarm to have it")
    last_id = re.findall(r"^id: (.+)$", cluster.read_events(service), re.MULTILINE)[-1]
    service.kill()
    other = cluster.find("service")
    assert other is not service
    assert cluster.get(other, "/whoami", *token)["name"] == "deploy"
    assert "event: snapshot" in cluster.read_events(other, last_id)
    listed = cluster.get(other, "/plugins")["plugins"]
    assert [plugin["id"] for plugin in listed if plugin.get("disabled")] == ["leaky"]
    wait_for(lambda: has_running_samples(cluster), "every plugin to run elsewhere", IMAGE_SECONDS)
    cluster.lab.start(service, offline=False)
    cluster.lab.wait_until_whole()


def is_kept(manager: LabNode, row: str) -> bool:
    names = manager.docker("config", "ls", "--filter", "label=plugvisor.state", "--format", "{{.Name}}").split()
    newest = max(names, key=lambda name: int(name.rpartition("-")[2]))
    data = json.loads(manager.docker("config", "inspect", newest))[0]["Spec"]["Data"]
    return row in unpack(base64.b64decode(data))

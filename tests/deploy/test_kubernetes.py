"""The manifests for Kubernetes against its schemas, and against the image: no cluster is at hand."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from plugvisor.api.routes import ROUTES

from tests.helpers.stack import ROOT

MANIFESTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "plugvisor.yaml").read_text())
)
VERSIONS = ["1.27", kubernetes_validate.latest_version()]


def find(kind: str) -> dict[str, Any]:
    [found] = [manifest for manifest in MANIFESTS if manifest["kind"] == kind]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: str(manifest["kind"]))
def test_it_is_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_mistake_is_found() -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(find("Service") | {"specs": {}}, VERSIONS[-1], strict=True)


def test_the_parts_name_each_other() -> None:
    workload, service, claim = find("StatefulSet"), find("Service"), find("PersistentVolumeClaim")
    pod = workload["spec"]["template"]
    assert workload["spec"]["replicas"] == 1
    assert workload["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"] == service["spec"]["selector"]
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    for container in [*pod["spec"]["containers"], *pod["spec"]["initContainers"]]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()


def test_it_has_the_folders_and_capabilities_of_the_image() -> None:
    [container] = find("StatefulSet")["spec"]["template"]["spec"]["containers"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["plugvisor"]
    assert container["securityContext"]["capabilities"]["add"] == compose["cap_add"]
    folders = {re.findall(":(/[^:]+)", entry)[0] for entry in compose["volumes"]} - {"/plugins"}
    folders |= {entry.split(":")[0] for entry in compose["tmpfs"]}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == folders | {"/etc/plugvisor"}
    [port] = container["ports"]
    assert f"EXPOSE {port['containerPort']}" in (ROOT / "Dockerfile").read_text()
    grace = find("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert f"{grace}s" == compose["stop_grace_period"]


def test_its_probes_ask_what_the_service_answers() -> None:
    [container] = find("StatefulSet")["spec"]["template"]["spec"]["containers"]
    paths = {route.path for route in ROUTES if route.method == "GET"}
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[name]["httpGet"]
        assert asked["path"] in paths, name
        assert asked["port"] == container["ports"][0]["name"], name
        assert asked["httpHeaders"] == [{"name": "Host", "value": "localhost"}], (
            "the kubelet's Host is the pod's address"
        )
    [port] = find("Service")["spec"]["ports"]
    assert port["targetPort"] == container["ports"][0]["name"]


def test_its_init_container_names_users_of_the_image() -> None:
    [init] = find("StatefulSet")["spec"]["template"]["spec"]["initContainers"]
    _, owner, *folders = init["command"]
    user, group = owner.split(":")
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(rf"groupadd .* {group}\b", dockerfile)
    assert re.search(rf"useradd .* {user}\b", dockerfile)
    assert {mount["mountPath"] for mount in init["volumeMounts"]} == set(folders)


def test_the_secret_is_in_no_manifest() -> None:
    [container] = find("StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert not [variable for variable in container["env"] if re.search("CODE$|TOKEN$", variable["name"])]

"""A manifest as a service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugvisor.engines.swarm.carriers.carrier import Carried
from plugvisor.engines.swarm.carriers.folder import FolderDigest
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.names import Names
from plugvisor.engines.swarm.services.options import (
    check_manifest,
    list_differences,
    make_restart_policy,
    read_log_options,
)
from plugvisor.engines.swarm.services.program import SwarmProgram, make_launch, make_spec
from plugvisor.engines.swarm.services.spec import apply_program, force_update, get_replicas, set_replicas
from plugvisor.models.lifecycle import Check, Limits, LogOptions, Placement, Restart, Watch
from plugvisor.models.manifest import ManifestError, SupervisorOptions
from plugvisor.settings import Settings

from tests.helpers.manifests import make_manifest

FOLDER = Path("/plugins/echo")
SETTINGS = Settings.from_env({"PLUGVISOR_ENGINE": "swarm", "PLUGVISOR_IMAGE": "plugvisor:lab"})
CARRIED = Carried("image:1", "image", configs=({"ConfigID": "c"},), secrets=({"SecretID": "s"},))


def make_task(**fields: Any) -> dict[str, Any]:
    task: dict[str, Any] = make_spec(make_manifest(**fields), FOLDER, SETTINGS)["TaskTemplate"]
    return task


def make_program(**fields: Any) -> SwarmProgram:
    manifest = make_manifest(**fields)
    spec = json.dumps(make_spec(manifest, FOLDER, SETTINGS)).encode()
    return SwarmProgram("echo", FOLDER, FolderDigest("0" * 64, 1), "digest", manifest.replicas, spec, b"{}")


# -- names


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True))
def test_every_id_has_a_name_that_the_swarm_takes(plugin_id: str) -> None:
    name = Names().name_service(plugin_id)
    assert name.startswith("plugvisor-")
    assert len(name) <= 63
    assert name[-1].isalnum()


def test_ids_that_no_name_can_hold_have_names_of_their_own() -> None:
    ids = ["a" * 64, "a" * 63, "a" * 63 + "b", "a-", "a_", "a--", "a"]
    assert len({Names().name_service(plugin_id) for plugin_id in ids}) == len(ids)
    assert Names().name_service("Web_1") == "plugvisor-Web_1"


# -- the table of docs/cluster.md


def test_options_of_supervisord_are_those_of_the_container() -> None:
    options = SupervisorOptions(stopsignal="INT", stopwaitsecs=25)
    container = make_task(supervisor=options)["ContainerSpec"]
    assert (container["StopSignal"], container["StopGracePeriod"], container["Init"]) == ("SIGINT", 25 * 10**9, True)


@pytest.mark.parametrize(
    ("autorestart", "condition"), [("true", "any"), ("unexpected", "on-failure"), ("false", "none")]
)
def test_autorestart_is_the_condition_of_restarts(autorestart: str, condition: str) -> None:
    policy = make_restart_policy(make_manifest(supervisor=SupervisorOptions(autorestart=autorestart)))  # type: ignore[arg-type]
    assert policy["Condition"] == condition


def test_a_process_that_ends_before_startsecs_is_given_up_after_startretries() -> None:
    options = SupervisorOptions(startsecs=4, startretries=3)
    policy = make_restart_policy(make_manifest(supervisor=options, restart=Restart(delay=1)))
    assert (policy["MaxAttempts"], policy["Delay"]) == (3, 10**9)
    # so many launches, each of which ends at the last moment, are within the window
    assert policy["Window"] >= (3 + 1) * (4 + 1) * 10**9


def test_the_restarts_that_a_manifest_limits_are_the_swarms_own() -> None:
    policy = make_restart_policy(make_manifest(restart=Restart(max_restarts=7, window=90, delay=0)))
    assert (policy["MaxAttempts"], policy["Window"], policy["Delay"]) == (7, 90 * 10**9, 0)


def test_no_retries_are_one_because_the_swarm_means_any_number_by_none() -> None:
    assert make_restart_policy(make_manifest(supervisor=SupervisorOptions(startretries=0)))["MaxAttempts"] == 1


def test_limits_are_those_of_the_tasks() -> None:
    limits = Limits(memory=64 * 2**20, cpus=1.5, processes=20, open_files=100)
    task = make_task(limits=limits)
    # docker-init is in the container, too
    assert task["Resources"]["Limits"] == {"MemoryBytes": 64 * 2**20, "NanoCPUs": 1_500_000_000, "Pids": 21}
    assert task["ContainerSpec"]["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 100}]
    mapped = make_task(limits=limits, supervisor=SupervisorOptions(exitcodes=(0, 3)))
    assert mapped["Resources"]["Limits"]["Pids"] == 22  # and so is what maps the exit codes


def test_without_limits_there_are_none() -> None:
    task = make_task()
    assert task["Resources"] == {"Limits": {}}
    assert "Ulimits" not in task["ContainerSpec"]


def test_the_check_of_the_image_is_not_the_plugins() -> None:
    assert make_task()["ContainerSpec"]["Healthcheck"] == {"Test": ["NONE"]}


def test_a_command_that_finds_out_whether_a_plugin_is_alive_is_the_nodes_to_run() -> None:
    check = Check(exec=("true",), level="alive", period=2, timeout=1, threshold=4, startup=9)
    found = make_task(checks={"pulse": check})["ContainerSpec"]["Healthcheck"]
    assert found["Test"][-2:] == ["check", "pulse"]
    assert (found["Interval"], found["Timeout"], found["Retries"], found["StartPeriod"]) == (
        2 * 10**9,
        10**9,
        4,
        9 * 10**9,
    )


@pytest.mark.parametrize(
    ("logs", "driver"),
    [
        (LogOptions(), None),
        (LogOptions(max_size=65536), {"max-size": "65536", "max-file": "4"}),
        (LogOptions(backups=0), {"max-size": "10485760", "max-file": "1"}),
        (LogOptions(2**40, 100), {"max-size": "1099511627776", "max-file": "101"}),
    ],
)
def test_what_is_kept_of_its_log(logs: LogOptions, driver: dict[str, str] | None) -> None:
    spec = make_spec(make_manifest(logs=logs), FOLDER, SETTINGS)
    expected = {"Name": "json-file", "Options": driver} if driver else None
    assert spec["TaskTemplate"].get("LogDriver") == expected
    assert read_log_options(spec) == logs


@pytest.mark.parametrize("label", [None, "", "1 1", "65536", "65536 x", "65536 101", "65536 1 2"])
def test_a_label_that_says_nothing_of_its_log(label: str | None) -> None:
    spec = {"Labels": {} if label is None else {labels.LOGS: label}}
    assert read_log_options(spec) == read_log_options({}) == LogOptions()


def test_placement_and_replicas() -> None:
    manifest = make_manifest(replicas=3, placement=Placement((" node.role == worker ",), 2))
    spec = make_spec(manifest, FOLDER, SETTINGS)
    assert spec["TaskTemplate"]["Placement"] == {"Constraints": ["node.role == worker"], "MaxReplicas": 2}
    assert spec["Labels"][labels.REPLICAS] == "3"


def test_the_network_of_the_settings_is_that_of_the_tasks() -> None:
    settings = Settings.from_env({"PLUGVISOR_ENGINE": "swarm", "PLUGVISOR_NETWORK": "plugins"})
    spec = make_spec(make_manifest(), FOLDER, settings)
    assert spec["TaskTemplate"]["Networks"] == [{"Target": "plugins"}]
    assert spec["EndpointSpec"] == {"Mode": "dnsrr"}
    assert "Networks" not in make_task()


# -- what cannot be had


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"checks": {"a": Check(exec=("true",))}}, "cannot be made on another node"),
        ({"checks": {"a": Check(exec=("true",), level="alive", on_failure="stop")}}, "`on_failure` must be `restart`"),
        ({"checks": {name: Check(exec=("true",), level="alive") for name in "ab"}}, "there are 2"),
        ({"limits": Limits(memory=1024)}, "no memory limit below 4M"),
    ],
)
def test_what_would_be_another_plugin_is_an_error(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        check_manifest(make_manifest(**fields))


def test_keys_without_an_effect_are_named() -> None:
    manifest = make_manifest(
        restart=Restart(factor=3),
        supervisor=SupervisorOptions(priority=1),
        critical=True,
        watch=Watch((".",)),
        command=("true",),
    )
    assert [
        word
        for sentence in list_differences(manifest)
        for word in ("`factor`", "`priority`", "`critical`", "`watch`")
        if word in sentence
    ] == [
        "`factor`",
        "`priority`",
        "`critical`",
        "`watch`",
    ]
    assert list_differences(make_manifest()) == []


# -- secrets


def test_no_argument_and_no_variable_stands_in_the_spec() -> None:
    manifest = make_manifest(command=("run", "--token=hunter2"), environment={"TOKEN": "hunter3"})
    assert "hunter" not in json.dumps(make_spec(manifest, FOLDER, SETTINGS))
    launch = make_launch(manifest, FOLDER, manifest.command)
    assert (launch.arguments, launch.environment) == (["run", "--token=hunter2"], {"TOKEN": "hunter3"})


# -- changes of a spec


def test_a_service_gets_the_program_and_keeps_the_labels_of_others() -> None:
    before = force_update(set_replicas(apply_program(None, make_program(), CARRIED), 2))
    before["Labels"] |= {"theirs": "kept", labels.LAST: "{}"}
    after = apply_program(before, make_program(name="other"), CARRIED)
    assert (after["Labels"]["theirs"], after["Labels"][labels.LAST], after["Labels"][labels.NAME]) == (
        "kept",
        "{}",
        "other",
    )
    assert (get_replicas(after), after["TaskTemplate"]["ForceUpdate"]) == (2, 1)
    container = after["TaskTemplate"]["ContainerSpec"]
    assert (container["Image"], container["Configs"], container["Secrets"]) == (
        "image:1",
        [{"ConfigID": "c"}],
        [{"SecretID": "s"}],
    )


def test_a_start_forgets_what_was_so_until_then() -> None:
    spec = set_replicas(apply_program(None, make_program(), CARRIED), 0, "asked")
    assert spec["Labels"][labels.QUEUED] == "asked"
    spec["Labels"] |= {labels.FAILED: "x", labels.ENDED: "y"}
    spec = set_replicas(spec, 1)
    assert not {labels.QUEUED, labels.FAILED, labels.ENDED} & spec["Labels"].keys()
    assert spec["Labels"][labels.WANTED_AT].endswith(" 1")

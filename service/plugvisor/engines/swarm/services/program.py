"""A plugin's program: its service, with what it needs on a node."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from plugvisor.engines.launching import (
    ORDINARY_VARIABLES,
    build_argv,
    check_executable,
    find_variable_files,
    make_environment,
)
from plugvisor.engines.swarm.carriers.folder import find_digest
from plugvisor.engines.swarm.inside.launch import LARGEST_BYTES, Launch
from plugvisor.engines.swarm.services import labels, options
from plugvisor.engines.swarm.services.names import Names
from plugvisor.layout import awaits_environment, find_data, find_programs, is_version
from plugvisor.models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plugvisor.engines.swarm.carriers.folder import FolderDigest
    from plugvisor.models.manifest import Manifest
    from plugvisor.settings import Settings

INSIDE = ("/opt/plugvisor/bin/python", "-I", "-m", "plugvisor.engines.swarm.inside")
"""The command of a task's container: it makes the folder, and becomes or runs the plugin. Every image has it there."""
RUNNER = ("python", "/opt/plugvisor/share/runner.py", "{entry}")
"""The runner of the image, if no other is set."""


@dataclass(frozen=True)
class SwarmProgram:
    """Two that are equal run the same."""

    id: str
    directory: Path
    folder: FolderDigest
    """The digest of its contents."""
    digest: str
    """Of all that follows, and of the folder: what differs between two programs that do not run the same."""
    replicas: int
    spec: bytes = field(repr=False)
    """The service's spec as JSON, without image, configs, secrets, replicas and what labels remember."""
    secret: bytes = field(repr=False)
    """The launch that `inside` reads, as JSON; it can contain secrets."""
    variable_files: Mapping[str, str] = field(default_factory=dict)
    """The files that the secret's further variables are read from at each start, by their names."""


def render_program(manifest: Manifest, directory: Path, settings: Settings) -> SwarmProgram:
    """Make the program of a plugin; raises `ManifestError` for what a swarm cannot run.

    A command is looked up in the plugin's folder. What else an image holds is known only if plugins run in the one
    that the service runs in.
    """
    options.check_manifest(manifest)
    try:
        str(directory).encode()
    except UnicodeEncodeError as error:
        raise ManifestError("the path of its folder is not UTF-8, in which alone a swarm can name it") from error
    arguments = build_argv(manifest, directory, settings.runner or RUNNER)
    is_in_folder = "/" in arguments[0] and not arguments[0].startswith("/")
    if (is_in_folder or not settings.swarm.image) and not awaits_environment(str(directory)):
        check_executable(manifest, directory, arguments[0])
    secret = make_launch(manifest, directory, arguments).render()
    if len(secret) >= LARGEST_BYTES:
        raise ManifestError("its command and environment are larger than 500 KiB, which a swarm cannot carry")
    folder = find_digest(directory)
    spec = json.dumps(make_spec(manifest, directory, settings), separators=(",", ":"), sort_keys=True).encode()
    parts = [folder.sha256.encode(), spec, secret, str(manifest.replicas).encode()]
    if files := find_variable_files(manifest, directory):
        parts.append(json.dumps(files, sort_keys=True).encode())
    digest = sha256(b"\0".join(parts)).hexdigest()[:32]
    return SwarmProgram(manifest.id, directory, folder, digest, manifest.replicas, spec, secret, files)


def make_launch(manifest: Manifest, directory: Path, arguments: tuple[str, ...]) -> Launch:
    """Make the launch that `inside` reads.

    No part of it stands in the service's spec: a command line and the environment may hold secrets.
    """
    return Launch(
        directory=str(directory),
        arguments=list(arguments),
        environment=make_environment(manifest, directory),
        inherited=list(ORDINARY_VARIABLES),
        path_first=find_programs(str(directory)) or "",
        exitcodes=list(manifest.supervisor.exitcodes),
        checks={name: list(check.exec) for name, check in manifest.checks.items() if check.exec},
    )


def make_spec(manifest: Manifest, directory: Path, settings: Settings) -> dict[str, Any]:
    """The part of a service's spec that the manifest decides."""
    names = Names(settings.swarm.name)
    supervisor = manifest.supervisor
    container: dict[str, Any] = {
        "Command": list(INSIDE),
        "Labels": names.label(manifest.id),
        "Init": True,
        "Env": ["TINI_KILL_PROCESS_GROUP=1"],  # docker-init passes signals on to all processes, as on one machine
        "StopSignal": f"SIG{supervisor.stopsignal}",
        "StopGracePeriod": supervisor.stopwaitsecs * options.SECOND,
        "Healthcheck": options.make_healthcheck(manifest.checks, (*INSIDE, "check")),
    }
    if files := manifest.limits.open_files:
        container["Ulimits"] = [{"Name": "nofile", "Soft": files, "Hard": files}]
    if is_version(str(directory)):
        target = find_data(str(directory))
        container["Mounts"] = [{"Type": "volume", "Source": names.name_data_volume(manifest.id), "Target": target}]
    # docker-init; `inside` if it stays to map exit codes, and with each check
    own_processes = 1 if supervisor.exitcodes == (0,) else 2
    own_processes = 4 if any(check.exec for check in manifest.checks.values()) else own_processes
    task: dict[str, Any] = {
        "ContainerSpec": container,
        "Resources": {"Limits": options.make_limits(manifest.limits, own_processes)},
        "RestartPolicy": options.make_restart_policy(manifest),
        "Placement": options.make_placement(manifest),
    }
    if (driver := options.make_log_driver(manifest.logs)) is not None:
        task["LogDriver"] = driver
    if settings.swarm.network:
        task["Networks"] = [{"Target": settings.swarm.network}]
    return {
        "Name": names.name_service(manifest.id),
        "Labels": {
            **names.label(manifest.id),
            labels.NAME: manifest.name,
            labels.CHECKS: manifest.checks_digest,
            labels.FOLDER: str(directory),
            labels.STARTSECS: str(supervisor.startsecs),
            labels.REPLICAS: str(manifest.replicas),
            labels.LOGS: options.write_log_options(manifest.logs),
        },
        "TaskTemplate": task,
        # all at once, as on one machine, and each when the one that it replaces has ended
        "UpdateConfig": {"Parallelism": 0, "FailureAction": "continue", "Order": "stop-first"},
        "EndpointSpec": {"Mode": "dnsrr"},
    }

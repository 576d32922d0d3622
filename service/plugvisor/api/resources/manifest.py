"""`GET /plugin/{plugin_id}/manifest`: what a plugin's author wrote, as it was last read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor.api.responses import NO_STORE, respond
from plugvisor.api.state import get_plugin
from plugvisor.api.status_fields import find_manifest_error
from plugvisor.models.plugin import ManifestFields, PluginManifest
from plugvisor.plugins.watching import list_unwatched
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.state import State
    from plugvisor.plugins.manifest import Manifest


async def show_manifest(request: Request[State]) -> Response:
    """A plugin's manifest; its command line may hold a secret, which is why a role is needed."""
    plugin = get_plugin(request)
    body = PluginManifest(
        plugin_id=plugin.id,
        folder=plugin.name_of_folder,
        manifest=make_fields(plugin.manifest) if plugin.manifest else None,
        problem=plugin.problem,
        manifest_error=find_manifest_error(plugin) or UNSET,
        warnings=(
            *plugin.manifest.warnings,
            *request.state["engine"].list_ignored(plugin.manifest),
            *list_unwatched(plugin),
        )
        if plugin.manifest
        else (),
        time=format_time(),
    )
    return respond(body, headers=NO_STORE)


def make_fields(manifest: Manifest) -> ManifestFields:
    """The manifest; of the environment the names alone, since values are often secrets."""
    return ManifestFields(
        command=[word.encode(errors="backslashreplace").decode() for word in manifest.command],
        entry=manifest.entry,
        enabled=manifest.enabled,
        auto_start=manifest.auto_start,
        environment=sorted([*manifest.environment, *manifest.environment_files]),
        environment_files=sorted(manifest.environment_files),
        supervisor=manifest.supervisor,
        checks=dict(sorted(manifest.checks.items())),
        depends_on=dict(sorted(manifest.depends_on.items())),
        restart=manifest.restart,
        limits=manifest.limits,
        python=manifest.python,
        replicas=manifest.replicas,
        placement=manifest.placement,
        logs=manifest.logs,
        watch=manifest.watch,
        critical=manifest.critical,
    )

"""`GET /plugin/{plugin_id}/manifest`: what a plugin's author wrote, as it was last read."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from plugvisor.api.endpoint import get_plugin, private
from plugvisor.api.views import tell_time

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.endpoint import State
    from plugvisor.plugins.manifest import Manifest


@private
async def show_manifest(request: Request[State]) -> Response:
    """Tell what a manifest says; its command line may hold a secret, which is why the admin code is needed."""
    plugin = get_plugin(request)
    fields = {
        "plugin_id": plugin.id,
        "folder": plugin.name_of_folder,
        "manifest": plugin.manifest and describe_manifest(plugin.manifest),
        "problem": plugin.problem,
        "time": tell_time(),
    }
    return JSONResponse(fields, headers={"Cache-Control": "no-store"})


def describe_manifest(manifest: Manifest) -> dict[str, Any]:
    """What decides how a plugin runs. Of the environment the names alone: values are often secrets."""
    return {
        "command": [word.encode(errors="backslashreplace").decode() for word in manifest.command],
        "entry": manifest.entry,
        "enabled": manifest.enabled,
        "auto_start": manifest.auto_start,
        "environment": sorted(manifest.environment),
        "supervisor": asdict(manifest.supervisor),
    }

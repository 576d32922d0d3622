"""A plugin's manifest in the front end's forms. A change is checked, kept and noted as every change of it is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

import msgspec

from plugvisor.api.dialects.neko.bodies import (
    NekoConfig,
    NekoConfigText,
    NekoConfigWritten,
    NekoParsed,
    NekoProfiles,
    NekoRendered,
)
from plugvisor.api.dialects.neko.toml_tree import put_tree
from plugvisor.api.resources.installation import config
from plugvisor.api.responses import NO_STORE, respond
from plugvisor.api.state import get_identity, get_plugin
from plugvisor.errors import InvalidManifest, NotSupported, PreconditionFailed
from plugvisor.manager.installation.config_check import parse_text
from plugvisor.manager.installation.manifest_file import matches
from plugvisor.models.installation.config import ConfigWritten
from plugvisor.models.manifest import FILE_NAME
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.dialects.neko.bodies import NekoTree
    from plugvisor.api.resources.installation.queries import ConfigQuery
    from plugvisor.api.state import State
    from plugvisor.models.installation.config import ConfigText

_FIXED = ("id", "entry")
_ATTEMPTS = 3
"""Somebody else may write while a text is made of the one that was read."""
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
"""Of the plugins whose values are being written: each text is made of the one before it."""


async def show_neko_config(request: Request[State]) -> Response:
    """A plugin's manifest, parsed; its values may be secrets."""
    plugin_id = request.path_params["plugin_id"]
    text, _ = await request.state["configurations"].read(plugin_id)
    body = NekoConfig(
        plugin_id=plugin_id,
        config=await asyncio.to_thread(parse_text, text),
        last_modified=await _find_modified(request),
        config_path=_find_path(request),
    )
    return respond(body, headers=NO_STORE)


async def show_base_config(request: Request[State]) -> Response:
    """The same: there are no profiles that could change it."""
    return await show_neko_config(request)


async def show_neko_config_text(request: Request[State], query: ConfigQuery) -> Response:
    """A plugin's manifest as text, or an earlier one."""
    plugin_id = request.path_params["plugin_id"]
    text, etag = await request.state["configurations"].read(plugin_id, query.earlier)
    body = NekoConfigText(
        plugin_id=plugin_id,
        toml=text.decode("utf-8-sig", "replace"),
        last_modified=await _find_modified(request),
        config_path=_find_path(request),
    )
    return respond(body, headers=(*NO_STORE, (b"etag", etag.encode())))


async def replace_neko_config_text(request: Request[State], body: bytes) -> Response:
    """Replace a plugin's manifest; a plugin that runs goes on with what it was started with."""
    text = config.find_text(request.headers, body)
    response = await config.replace_config(request, body)
    return await _answer(msgspec.json.decode(bytes(response.body), type=ConfigWritten), text)


async def replace_neko_config(request: Request[State], body: NekoTree) -> Response:
    """Replace the values of a plugin's manifest; the comments and the order in it stay."""
    plugin_id, by = request.path_params["plugin_id"], get_identity(request).name
    configurations = request.state["configurations"]
    tags = request.headers.getlist("If-Match")
    async with _turns.setdefault(plugin_id, asyncio.Lock()):
        for attempt in range(_ATTEMPTS):
            before, etag = await configurations.read(plugin_id)
            if tags and not matches(",".join(tags), etag):
                raise PreconditionFailed("the manifest is no longer the one that was read; read it again")
            text = await asyncio.to_thread(_render, before, body.config)
            try:
                written = await configurations.write(plugin_id, text, etag, by)
            except PreconditionFailed:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                break
    return await _answer(written, text)


async def parse_config_text(request: Request[State], body: ConfigText) -> Response:
    """Parse a text; nothing is stored."""
    plugin = get_plugin(request)
    tree = await asyncio.to_thread(parse_text, body.toml.encode())
    return respond(NekoParsed(plugin_id=plugin.id, config=tree), headers=NO_STORE)


async def render_config_text(request: Request[State], body: NekoTree) -> Response:
    """The text that the manifest would be with these values; nothing is stored."""
    plugin = get_plugin(request)
    before = b""
    with suppress(InvalidManifest):  # there is none any more
        before, _ = await request.state["configurations"].read(plugin.id)
    text = await asyncio.to_thread(_render, before, body.config)
    return respond(NekoRendered(plugin_id=plugin.id, toml=text.decode("utf-8-sig")), headers=NO_STORE)


async def list_profiles(request: Request[State]) -> Response:
    """The profiles of a plugin: there are none."""
    plugin = get_plugin(request)
    body = NekoProfiles(
        plugin_id=plugin.id, profiles_path=_find_path(request), profiles_exists=False, config_profiles=None
    )
    return respond(body, headers=NO_STORE)


async def show_profile(request: Request[State]) -> Response:
    """One profile: there is none."""
    _refuse(request)


async def replace_profile(request: Request[State], _body: object) -> Response:
    """Nothing: there are no profiles."""
    _refuse(request)


async def remove_profile(request: Request[State]) -> Response:
    """Nothing: there are no profiles."""
    _refuse(request)


async def activate_profile(request: Request[State], _body: object) -> Response:
    """Nothing: there are no profiles."""
    _refuse(request)


def _render(before: bytes, tree: dict[str, Any]) -> bytes:
    try:
        _keep_identity(parse_text(before), tree)
    except InvalidManifest:
        before = b""  # what is no TOML has nothing to keep
    return put_tree(before, tree)


def _keep_identity(before: dict[str, Any], tree: dict[str, Any]) -> None:
    """Complete what a form sends: it leaves out what nobody may change."""
    old, new = before.get("plugin"), tree.get("plugin")
    if isinstance(old, dict) and isinstance(new, dict):
        for key in _FIXED:
            if key in old:
                new.setdefault(key, old[key])


def _refuse(request: Request[State]) -> NoReturn:
    get_plugin(request)
    raise NotSupported("there are no configuration profiles here; change the plugin's configuration itself")


async def _answer(written: ConfigWritten, text: bytes) -> Response:
    body = NekoConfigWritten(
        success=True,
        plugin_id=written.plugin_id,
        config=await asyncio.to_thread(parse_text, text),
        requires_reload=written.reload_needed,
        message=written.message,
    )
    return respond(body, headers=(*NO_STORE, (b"etag", written.etag.encode())))


async def _find_modified(request: Request[State]) -> str:
    return format_time(await request.state["configurations"].find_modified(request.path_params["plugin_id"]))


def _find_path(request: Request[State]) -> str:
    """The manifest's path inside the plugins folder: where that is, is no client's business."""
    folder = get_plugin(request).folder
    return f"{folder.name if folder else ''}/{FILE_NAME}"

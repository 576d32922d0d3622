"""The routes that the dialect replaces or adds."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from plugvisor import errors
from plugvisor.api.dialects.neko import bodies, config, plugins
from plugvisor.api.endpoint import Answer, Route
from plugvisor.api.parameters import PluginQuery
from plugvisor.api.routes import ROUTES as API_ROUTES
from plugvisor.models.installation.config import ConfigText

if TYPE_CHECKING:
    from plugvisor.api.endpoint import Handler
    from plugvisor.models.body import Body

_TREE = '{"config": {"plugin": {"id": …}}}'
_TEXT = '{"toml": "[plugin]\\nid = …"}'
_READ = (errors.PluginNotFound, errors.InvalidManifest)
_PARSED = (*_READ, errors.InvalidRequest)
_NO_PROFILE = (errors.PluginNotFound, errors.NotSupported)
_BY_PATH = {(route.method, route.path): route for route in API_ROUTES}


def _instead(method: str, path: str, handler: Handler, *body: type[Body]) -> Route:
    """A route of the API, with another handler and other bodies."""
    route = _BY_PATH[method, path]
    answers = {
        status: replace(answer, body=body, media_type="application/json") if answer.media_type else answer
        for status, answer in route.answers.items()
    }
    return replace(route, handler=handler, answers=answers)


def _json(body: type[Body], *headers: str) -> dict[HTTPStatus, Answer]:
    return {HTTPStatus.OK: Answer("done", body, headers=headers)}


_CONFIG = "/plugin/{plugin_id}/config"
_PROFILES = f"{_CONFIG}/profiles"
_PUT = _BY_PATH["PUT", f"{_CONFIG}/toml"]

# fmt: off
ROUTES: tuple[Route, ...] = (
    _instead("GET", "/plugins", plugins.list_neko_plugins, bodies.NekoPluginList),
    _instead("GET", "/plugin/status", plugins.show_neko_status, bodies.NekoPluginStatus, bodies.NekoAllStatuses),
    replace(_instead("POST", "/plugin/{plugin_id}/start", plugins.start_neko_plugin, bodies.NekoOutcome),
            query=plugins.StartQuery),
    _instead("POST", "/plugin/{plugin_id}/stop", plugins.stop_neko_plugin, bodies.NekoOutcome),
    _instead("POST", "/plugin/{plugin_id}/reload", plugins.reload_neko_plugin, bodies.NekoOutcome),
    _instead("POST", "/plugin/{plugin_id}/disable", plugins.disable_neko_plugin, bodies.NekoOutcome),
    _instead("POST", "/plugins/start", plugins.start_neko_plugins, bodies.NekoBulkResult),
    _instead("POST", "/plugins/stop", plugins.stop_neko_plugins, bodies.NekoBulkResult),
    _instead("POST", "/plugins/reload", plugins.reload_neko_plugins, bodies.NekoBulkResult),
    _instead("GET", "/plugin/{plugin_id}/logs/files", plugins.list_neko_log_files, bodies.NekoLogFileList),
    replace(_BY_PATH["GET", "/plugin/metrics/{plugin_id}/history"], handler=plugins.list_neko_history,
            query=plugins.NekoHistoryQuery),
    Route(method="GET", path="/plugin/messages", handler=plugins.list_messages, answers=_json(bodies.NekoMessages),
          role="viewer", query=PluginQuery, errors=(errors.PluginNotFound,)),
    replace(_instead("GET", _CONFIG, config.show_neko_config, bodies.NekoConfig), errors=_READ),
    Route(method="GET", path=f"{_CONFIG}/base", handler=config.show_base_config, answers=_json(bodies.NekoConfig),
          role="admin", errors=_READ),
    Route(method="PUT", path=_CONFIG, handler=config.replace_neko_config,
          answers=_json(bodies.NekoConfigWritten, "ETag"), role="admin", headers=_PUT.headers, body=bodies.NekoTree,
          example=_TREE, errors=_PUT.errors),
    replace(_BY_PATH["GET", f"{_CONFIG}/toml"], handler=config.show_neko_config_text, headers={},
            answers=_json(bodies.NekoConfigText, "ETag")),
    _instead("PUT", f"{_CONFIG}/toml", config.replace_neko_config_text, bodies.NekoConfigWritten),
    Route(method="POST", path=f"{_CONFIG}/parse_toml", handler=config.parse_config_text,
          answers=_json(bodies.NekoParsed), role="admin", body=ConfigText, example=_TEXT, errors=_PARSED,
          changes_nothing=True),
    Route(method="POST", path=f"{_CONFIG}/render_toml", handler=config.render_config_text,
          answers=_json(bodies.NekoRendered), role="admin", body=bodies.NekoTree, example=_TREE, errors=_PARSED,
          changes_nothing=True),
    Route(method="GET", path=_PROFILES, handler=config.list_profiles, answers=_json(bodies.NekoProfiles),
          role="admin", errors=(errors.PluginNotFound,)),
    Route(method="GET", path=f"{_PROFILES}/{{profile}}", handler=config.show_profile, answers={}, role="admin",
          errors=_NO_PROFILE),
    Route(method="PUT", path=f"{_PROFILES}/{{profile}}", handler=config.replace_profile, answers={}, role="admin",
          body=bodies.NekoProfileBody, errors=(*_NO_PROFILE, errors.InvalidRequest), changes_nothing=True),
    Route(method="DELETE", path=f"{_PROFILES}/{{profile}}", handler=config.remove_profile, answers={}, role="admin",
          errors=_NO_PROFILE, changes_nothing=True),
    Route(method="POST", path=f"{_PROFILES}/{{profile}}/activate", handler=config.activate_profile, answers={},
          role="admin", body=bodies.NekoProfileBody, errors=(*_NO_PROFILE, errors.InvalidRequest),
          changes_nothing=True),
)
# fmt: on

"""Journal entries of requests that change something, and the ids of these requests."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from msgspec import UNSET
from msgspec.structs import asdict

from plugvisor.models.outcome import RefreshResult
from plugvisor.models.stored.journal import Facts, NewEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import UnsetType
    from starlette.requests import Request
    from starlette.types import Scope

    from plugvisor.api.responses import Header
    from plugvisor.models.stored.journal import Kind

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"pv_[A-Za-z0-9]{22,}", re.ASCII)
_VERBS = {
    ("POST", "/identities"): "add",
    ("DELETE", "/identities/{name}"): "remove",
    ("DELETE", "/plugin/{plugin_id}"): "uninstall",
    ("DELETE", "/operations/{operation_id}"): "cancel",
    ("PUT", "/plugin/{plugin_id}/config/toml"): "configure",
    ("PUT", "/plugin/{plugin_id}/config"): "configure",
}
"""Those that do not stand at the end of the path."""
_FORGET = "forget"
_LONGEST_ID = 64
MOST_LISTED = 100
"""At most this many ids of each kind of change are listed."""


def find_request_id(given: str) -> str:
    """The id of a request: the client's own, if it is a usable one."""
    return given if REQUEST_ID.fullmatch(given) and not _TOKEN.search(given) else secrets.token_hex(8)


def hide_tokens(text: str) -> str:
    """Replace tokens: one that was sent in the place of a name must not be kept."""
    return _TOKEN.sub("pv_***", text)


def make_request_id_header(scope: Scope) -> Header:
    """The response header with the request's id."""
    return b"x-request-id", scope["request_id"].encode()


def find_verb(method: str, path: str) -> str:
    """The verb of a route, as the journal has it."""
    if (verb := _VERBS.get((method, path))) is not None:
        return verb
    return _FORGET if method == "DELETE" else path.rpartition("/")[2]


def _shorten(changes: RefreshResult) -> tuple[RefreshResult, str | UnsetType]:
    """The changes that a refresh has found, and if there are too many to list, their numbers in words."""
    lists = asdict(changes)
    if max(map(len, lists.values())) <= MOST_LISTED:
        return changes, UNSET
    counts = ", ".join(f"{len(ids)} {name}" for name, ids in lists.items())
    return RefreshResult(**{name: ids[:MOST_LISTED] for name, ids in lists.items()}), f"in all {counts}"


def _find_detail(scope: Scope) -> str | UnsetType:
    return hide_tokens(scope["log_note"]) if "log_note" in scope else UNSET


def note_operation(request: Request[Any], method: str, path: str, outcome: str, began: float) -> None:
    """Note a request in the journal, if it is known whose it is; of one about many plugins, one entry for each too.

    Args:
        path: the route's.
        outcome: `ok`, or the code of the problem.
        began: when the request began, by `time.perf_counter`.
    """
    scope = request.scope
    identity = scope.get("identity")
    if identity is None:
        return
    seconds = time.perf_counter() - began
    parameters = scope.get("path_params", {})
    at = time.time() - seconds  # before what comes of it
    verb = find_verb(method, path)
    address = request.client.host if request.client else UNSET
    catalog = request.state["manager"].catalog

    def note(plugin_id: str, outcome: str, **more: Any) -> None:
        facts = Facts(
            identity=identity.name,
            address=address,
            verb=verb,
            outcome=outcome,
            milliseconds=round(seconds * 1000),
            request_id=scope["request_id"],
            **more,
        )
        kind: Kind = "identity" if path.startswith("/identities") else "operation"
        request.state["recorder"].note(NewEntry(kind, facts, hide_tokens(plugin_id)[:_LONGEST_ID], at))

    subject = hide_tokens(parameters.get("name", ""))[:_LONGEST_ID] or scope.get("subject", UNSET)
    changes, detail = _shorten(scope["changes"]) if "changes" in scope else (UNSET, _find_detail(scope))
    plugin_id = parameters.get("plugin_id", "") or scope.get("plugin_id", "")
    if outcome == "forbidden":  # or else a client could make up names without end
        plugin_id, subject = plugin_id if plugin_id in catalog else "", UNSET
    note(plugin_id, outcome, subject=subject, changes=changes, detail=detail)
    outcomes: Mapping[str, str] = scope.get("outcomes", {})
    for name, code in outcomes.items():
        if name in catalog:
            note(name, code)

"""Reads what a manifest says about a plugin's life: forms that a file may have, and dependencies in its metadata."""

from __future__ import annotations

import ipaddress
import re
import shlex
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from plugvisor.models.lifecycle import MEMORY_PATTERN
from plugvisor.models.manifest import FILE_NAME, PluginId
from plugvisor.plugins.positions import find_line
from plugvisor.plugins.versions import is_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.models.lifecycle import Check
    from plugvisor.models.manifest import Dependency, Manifest

    Fail = Callable[[str, str | None, str], NoReturn]
    """Raises a `ManifestError` about a key of a table."""

_POWERS = {"K": 1, "M": 2, "G": 3}
_KINDS = ("http", "tcp", "exec")


def unify_forms(values: dict[str, Any], fail: Fail) -> None:
    """Replace forms that only a file has: amounts of bytes and commands in one string."""
    for table, key in (("limits", "memory"), ("logs", "max_size")):
        content = values.get(table)
        if isinstance(content, dict) and isinstance(text := content.get(key), str) and re.search(MEMORY_PATTERN, text):
            values[table] = content | {key: int(text.rstrip("KMG")) * 1024 ** _POWERS.get(text[-1], 0)}
    checks = values.get("checks")
    if isinstance(checks, dict):
        values["checks"] = {name: _split_command(name, check, fail) for name, check in checks.items()}


def add_dependencies(values: dict[str, Any], dependencies: tuple[Dependency, ...], text: str) -> list[str]:
    """Take the dependencies of the metadata into `depends_on`; returns a sentence for each that cannot be used."""
    ids: dict[str, dict[str, Any]] = {}
    warnings = []
    for dependency in dependencies:
        if "id" not in dependency:
            continue
        plugin_id = dependency["id"]
        if not _is_id(plugin_id):
            warnings.append("the `id` of a [[plugin.dependency]] is not an id, and is ignored")
        elif plugin_id == values.get("id"):
            warnings.append("a [[plugin.dependency]] names the plugin itself, and is ignored")
        else:
            ids[plugin_id] = {}
            warnings += _judge_ranges(dependency)
    if ids and isinstance(values.setdefault("depends_on", {}), dict):
        values["depends_on"] = ids | values["depends_on"]
    # of several tables of one name, no line is known
    line = find_line(text, "plugin.dependency") if len(dependencies) == 1 and warnings else None
    where = FILE_NAME if line is None else f"{FILE_NAME} line {line}"
    return [f"{where}: {warning}" for warning in warnings]


def check_lifecycle(manifest: Manifest, fail: Fail) -> None:
    """Check what the declarations cannot say."""
    for name, check in manifest.checks.items():
        _check_check(f"plugin_runtime.checks.{name}", check, fail)
    if manifest.id in manifest.depends_on:
        fail(f"plugin_runtime.depends_on.{manifest.id}", None, "a plugin cannot depend on itself")


def _check_check(table: str, check: Check, fail: Fail) -> None:
    kinds = [kind for kind in _KINDS if getattr(check, kind)]
    if len(kinds) != 1:
        problem = "has more than one" if kinds else "needs one"
        fail(table, None, f"[{table}] {problem} of `http`, `tcp` and `exec`")
    [kind] = kinds
    if check.exec and not check.exec[0]:
        fail(table, kind, "the first word of `exec` is empty")
    if address := re.match(r"(?:https?://)?\[([^]]*)\]", check.tcp or check.http):
        try:
            ipaddress.IPv6Address(address[1])
        except ValueError:
            fail(table, kind, f"`{kind}` has an IPv6 address that is invalid")


def _split_command(name: str, check: Any, fail: Fail) -> Any:
    if not isinstance(check, dict) or not isinstance(command := check.get("exec"), str):
        return check
    try:
        return check | {"exec": shlex.split(command)}
    except ValueError as error:
        fail(f"plugin_runtime.checks.{name}", "exec", f"`exec` cannot be split into words: {str(error).lower()}")


def _is_id(text: str) -> bool:
    try:
        msgspec.convert(text, PluginId)
    except msgspec.ValidationError:
        return False
    return True


def _judge_ranges(dependency: Dependency) -> list[str]:
    ranges: dict[str, tuple[str, ...]] = {
        "recommended": (dependency.get("recommended", ""),),
        "supported": (dependency.get("supported", ""),),
        "untested": (dependency.get("untested", ""),),
        "conflicts": dependency.get("conflicts", ()),
    }
    wrong = [key for key, texts in ranges.items() if any(text.strip() and not is_range(text) for text in texts)]
    return [
        f"`{key}` of the [[plugin.dependency]] {dependency['id']!r} is no range of versions by PEP 440, and is ignored"
        for key in wrong
    ]

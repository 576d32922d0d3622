"""The JSON Schema of `plugin.toml`, for editors, linters and other programs that write manifests."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import msgspec

from plugvisor.models.lifecycle import MEMORY_PATTERN, Action
from plugvisor.models.manifest import (
    FILE_NAME,
    RESERVED_IDS,
    TABLES,
    Author,
    CommandLine,
    Dependency,
    Manifest,
    Sdk,
)


def make_schema() -> dict[str, Any]:
    """Make a JSON Schema (draft-07) from the declarations in `models/manifest.py`.

    The language servers for TOML in editors know that draft, and not all of them a later one.

    It accepts every valid manifest, unless the metadata has values of other types, which the reader leaves out. It
    rejects what is invalid by type, pattern, range or key.
    """
    types = (Manifest, Author, Sdk, Dependency, CommandLine)
    references, definitions = msgspec.json.schema_components(types, ref_template="#/definitions/{name}")
    _, author, sdk, dependency, command_line = references
    fields = definitions.pop("Manifest")["properties"]
    del definitions["Metadata"]
    for schema in fields.values():
        if schema.get("default") == "" or isinstance(schema.get("default"), tuple | dict):
            del schema["default"]  # it means that the key is absent, and is not always a value that it may have
    # a file may have these in another form than `Manifest`
    options = definitions["SupervisorOptions"]["properties"]
    options["autorestart"] = _either(options["autorestart"], {"type": "boolean"})
    fields["command"] = _either(fields["command"], command_line)
    _adapt_lifecycle(definitions, command_line)
    fields["id"]["not"] = {"enum": list(RESERVED_IDS)}

    plugin = {key: fields[key] for key in TABLES["plugin"]} | {
        "author": _either({**author, "description": definitions["Author"]["description"]}, {"type": "string"}),
        "sdk": {**sdk, "description": definitions["Sdk"]["description"]},
        "dependency": _either(
            {"type": "array", "items": dependency, "description": definitions["Dependency"]["description"]}, dependency
        ),
    }
    runtime = {key: fields[key] for key in TABLES["plugin_runtime"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": FILE_NAME,
        "description": "The manifest of a Plugvisor plugin. Tables that are not listed belong to the plugin.",
        "type": "object",
        "properties": {
            "plugin": {
                "description": "What the plugin is. Keys that are not listed belong to the plugin.",
                "type": "object",
                "properties": plugin,
                "required": ["id"],
                "anyOf": [{"required": ["command"]}, {"required": ["entry"]}],
            },
            "plugin_runtime": {
                "description": "How the plugin runs. Keys that are not listed belong to the plugin.",
                "type": "object",
                "properties": runtime,
            },
        },
        "required": ["plugin"],
        "definitions": definitions,
    }


@cache
def render_schema() -> bytes:
    """The schema as a text for people and programs, with a final line break."""
    return msgspec.json.format(msgspec.json.encode(make_schema())) + b"\n"


def _adapt_lifecycle(definitions: dict[str, Any], command_line: dict[str, Any]) -> None:
    """Make checks and limits what a file may have."""
    check, limits = definitions["Check"], definitions["Limits"]["properties"]
    kinds = ("http", "tcp", "exec")
    check["oneOf"] = [{"required": [kind]} for kind in kinds]
    check["properties"]["exec"] = _either(check["properties"]["exec"], command_line)
    # no value stands for an absent key
    action = check["properties"]["on_failure"]
    check["properties"]["on_failure"] = {"description": action["description"], "enum": list(get_args(Action))}
    python = definitions["PythonRequirement"]["properties"]
    for schema in (*(check["properties"][kind] for kind in kinds), *limits.values(), *python.values()):
        schema.pop("default", None)
    size = definitions["LogOptions"]["properties"]["max_size"]
    definitions["LogOptions"]["properties"]["max_size"] = _either(size, {"type": "string", "pattern": MEMORY_PATTERN})
    limits["memory"] = _either(limits["memory"], {"type": "string", "pattern": MEMORY_PATTERN})


def _either(schema: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A schema for two forms of one value."""
    form = dict(schema)
    common: dict[str, Any] = {key: form.pop(key) for key in ("description", "default") if key in form}
    return {**common, "anyOf": [form, other]}

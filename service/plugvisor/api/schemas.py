"""What answers and bodies look like, as JSON Schema 2020-12: the part of the OpenAPI document that is about data.

Objects of ours name every member and allow no other; a test holds real answers against them.
"""

from __future__ import annotations

from typing import Any

from plugvisor.api.resources.bulk import MOST_PLUGINS
from plugvisor.models.process import ProcessState, Status

Schema = dict[str, Any]


def obj(members: Schema, *, optional: Schema | None = None, description: str = "") -> Schema:
    """An object that has all of `members`, may have those of `optional`, and no other."""
    schema: Schema = {
        "type": "object",
        "properties": {**members, **(optional or {})},
        "required": list(members),
        "additionalProperties": False,
    }
    return {**schema, "description": description} if description else schema


def array(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def ref(name: str) -> Schema:
    """One of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def either(schema: Schema) -> Schema:
    """It, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def or_empty(schema: Schema) -> Schema:
    """It, or the empty string, which counts as absent."""
    return {"anyOf": [schema, {"const": ""}]}


STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
PID: Schema = {"type": "integer", "minimum": 1}
AMOUNT: Schema = {"type": "number", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
IDS = array(STRING)

_STATE: Schema = {
    "status": {"type": "string", "enum": [str(status) for status in Status]},
    "state": {"type": "string", "enum": [state.name for state in ProcessState], "description": "supervisord's word"},
}
_DETAIL: Schema = {"detail": {"type": "string", "description": "why it is as it is"}}
_HISTORY: Schema = {
    **_DETAIL,
    "restarts": {**COUNT, "description": "by supervisord itself; not told by a stock supervisord"},
    "last_exit": {"oneOf": [obj({"code": COUNT, "at": TIME}), obj({"signal": STRING, "at": TIME})]},
    "retry_at": TIME,
    "flapping": {"const": True},
}
_PROCESS: Schema = {"pid": PID, "uptime": {**COUNT, "description": "whole seconds"}}
_MANIFEST: Schema = {
    "id": STRING,
    "name": STRING,
    "version": STRING,
    "description": STRING,
    "enabled": BOOLEAN,
    "runtime_enabled": BOOLEAN,
    "runtime_auto_start": BOOLEAN,
    "author": either(obj({}, optional={"name": STRING, "email": STRING, "url": STRING})),
    "dependencies": array(ref("Dependency")),
    "sdk_version": either(STRING),
    "sdk_recommended": either(STRING),
    "sdk_supported": either(STRING),
    "sdk_untested": either(STRING),
    "sdk_conflicts": array(STRING),
    "entries": {"type": "array", "maxItems": 0},
}
_OUTCOME: Schema = {"plugin_id": STRING, **_STATE, "message": STRING}
_OUTCOME_OPTIONAL: Schema = {**_DETAIL, "pid": PID}
_PROBLEM: Schema = {
    "type": {"const": "about:blank"},
    "title": STRING,
    "status": {"type": "integer", "minimum": 400, "maximum": 599},
    "detail": {"type": "string", "description": "a sentence for a person"},
    "code": {"type": "string", "description": "stable, for programs"},
}

COMPONENTS: Schema = {
    "Problem": obj(_PROBLEM, description="RFC 9457 problem details"),
    "Unavailable": obj({**_PROBLEM, "available": {"const": False}, "plugins_count": COUNT, "time": TIME}),
    "Dependency": obj(
        {},
        optional={
            **dict.fromkeys(("id", "entry", "custom_event", "recommended", "supported", "untested"), STRING),
            **dict.fromkeys(("providers", "conflicts"), array(STRING)),
        },
    ),
    "Plugin": obj({**_MANIFEST, **_STATE}, optional=_HISTORY),
    "PluginList": obj({"plugins": array(ref("Plugin")), "message": STRING}),
    "Status": obj(_STATE, optional={**_HISTORY, **_PROCESS}),
    "PluginStatus": obj({"plugin_id": STRING, **_STATE, "time": TIME}, optional={**_HISTORY, **_PROCESS}),
    "StatusOfAll": obj({"plugins": {"type": "object", "additionalProperties": ref("Status")}, "time": TIME}),
    "Outcome": obj(_OUTCOME, optional=_OUTCOME_OPTIONAL),
    "Refreshed": obj({"added": IDS, "changed": IDS, "removed": IDS, "invalid": IDS}),
    "PluginIds": obj({}, optional={"plugin_ids": {**IDS, "maxItems": MOST_PLUGINS}}),
    "Results": obj(
        {
            "ok": BOOLEAN,
            "results": array(
                {
                    "oneOf": [
                        obj({**_OUTCOME, "ok": {"const": True}}, optional=_OUTCOME_OPTIONAL),
                        obj({"plugin_id": STRING, "ok": {"const": False}, "problem": ref("Problem")}),
                    ]
                }
            ),
        }
    ),
    "Liveness": obj({"status": {"const": "ok"}, "time": TIME}),
    "Readiness": obj({"status": {"const": "ok"}, "available": {"const": True}, "plugins_count": COUNT, "time": TIME}),
    "ServerInfo": obj(
        {
            "version": STRING,
            "sdk_version": STRING,
            "plugins_count": COUNT,
            "registered_plugins": IDS,
            "running_plugins_count": COUNT,
            "running_plugins": IDS,
            "supervisor": obj({"version": STRING, "pid": PID, "state": STRING, "extension": BOOLEAN}),
            "time": TIME,
        }
    ),
    "PluginHealth": obj(
        {
            "alive": BOOLEAN,
            "status": {"type": "string", "enum": ["running", "stopped", "crashed"]},
            "pid": either(PID),
            "exitcode": either({"type": "integer", "description": "of a signal its number, negative"}),
        }
    ),
    "PluginManifest": obj(
        {
            "plugin_id": STRING,
            "folder": {"type": "string", "description": "its name; empty where it is gone"},
            "manifest": either(
                obj(
                    {
                        "command": array(STRING),
                        "entry": STRING,
                        "enabled": BOOLEAN,
                        "auto_start": BOOLEAN,
                        "environment": {**array(STRING), "description": "the names alone"},
                        "supervisor": obj(
                            {
                                "startsecs": COUNT,
                                "startretries": COUNT,
                                "autorestart": STRING,
                                "exitcodes": array(COUNT),
                                "stopsignal": STRING,
                                "stopwaitsecs": COUNT,
                                "priority": COUNT,
                            }
                        ),
                    }
                )
            ),
            "problem": STRING,
            "time": TIME,
        }
    ),
    "Usage": obj(
        {
            "plugin_id": STRING,
            "timestamp": TIME,
            "pid": PID,
            "cpu_percent": {**AMOUNT, "description": "100 is one core"},
            "memory_mb": AMOUNT,
            "memory_percent": AMOUNT,
            "num_threads": COUNT,
        }
    ),
    "Usages": obj(
        {
            "metrics": array(ref("Usage")),
            "count": COUNT,
            "global": obj(
                {
                    "total_cpu_percent": AMOUNT,
                    "total_memory_mb": AMOUNT,
                    "total_memory_percent": AMOUNT,
                    "total_threads": COUNT,
                    "active_plugins": COUNT,
                }
            ),
            "time": TIME,
        }
    ),
    "PluginUsage": obj(
        {
            "plugin_id": STRING,
            "metrics": either(ref("Usage")),
            "time": TIME,
            "plugin_running": BOOLEAN,
            "process_alive": BOOLEAN,
            "message": STRING,
        }
    ),
    "UsageHistory": obj({"plugin_id": STRING, "history": array(ref("Usage")), "count": COUNT, "time": TIME}),
    "LogEntry": obj(
        {
            "timestamp": either(STRING),
            "level": either(STRING),
            "file": either(STRING),
            "line": either(COUNT),
            "message": STRING,
        }
    ),
    "Log": obj(
        {
            "plugin_id": STRING,
            "logs": array(ref("LogEntry")),
            "total_lines": COUNT,
            "returned_lines": COUNT,
            "log_file": STRING,
        }
    ),
    "LogFiles": obj(
        {
            "plugin_id": STRING,
            "log_files": array(obj({"filename": STRING, "size": COUNT, "modified": TIME})),
            "count": COUNT,
            "time": TIME,
        }
    ),
}

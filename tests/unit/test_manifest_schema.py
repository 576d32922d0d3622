"""The JSON Schema of `plugin.toml` agrees with the reader."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from msgspec import inspect
from plugvisor.models.lifecycle import (
    MEMORY_PATTERN,
    Check,
    Limits,
    LogOptions,
    Placement,
    Requirement,
    Restart,
    Watch,
)
from plugvisor.models.manifest import RESERVED_IDS, TABLES, Manifest, ManifestError, SupervisorOptions
from plugvisor.models.manifest_schema import make_schema
from plugvisor.plugins.manifest import parse_manifest

ROOT = Path(__file__).parents[2]
SCHEMA = make_schema()
VALIDATOR = Draft7Validator(SCHEMA)
CHARACTERS = st.characters(exclude_categories=["Cs"])


def dump(document: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """A document as lines of TOML; an empty table is left out."""
    if path:
        yield f"[{'.'.join(map(to_toml, path))}]"
    yield from (f"{to_toml(key)} = {to_toml(value)}" for key, value in document.items() if not isinstance(value, dict))
    for key, value in document.items():
        if isinstance(value, dict):
            yield from dump(value, (*path, key))


def to_toml(value: Any) -> str:
    """A key, or a value that is no table: as JSON writes it, but for tables in lists."""
    if isinstance(value, list):
        return f"[{', '.join(map(to_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{to_toml(key)} = {to_toml(item)}' for key, item in value.items())}}}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(document: dict[str, Any]) -> str:
    """What the reader finds wrong with a manifest; empty if it is valid."""
    text = "\n".join(dump(document))
    assert tomllib.loads(text) == document
    try:
        parse_manifest(text.encode())
    except ManifestError as error:
        return error.problem
    return ""


# -- values, valid and not, from the declarations

OTHER_TYPES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: number % 1)  # 1.0 is an integer to JSON
    | st.text(CHARACTERS, max_size=5),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(CHARACTERS, max_size=3), items, max_size=3),
    max_leaves=4,
)


def near_limits(declaration: inspect.Type) -> st.SearchStrategy[Any]:
    """Values of a declared type, on both sides of its limits."""
    match declaration:
        case inspect.Metadata(type=declared):
            return near_limits(declared)
        case inspect.BoolType():
            return st.booleans()
        case inspect.UnionType(types=types):
            return st.one_of([near_limits(one) for one in types if not isinstance(one, inspect.NoneType)])
        case inspect.FloatType(ge=low, le=high) if low is not None and high is not None:
            return st.sampled_from([low - 0.01, low, high, high + 1]) | st.floats(low, high)
        case inspect.IntType(ge=int(low), le=int(high)):
            return st.sampled_from([low - 1, low, high, high + 1]) | st.integers(low, high)
        case inspect.LiteralType(values=words):
            return st.sampled_from([*words, *map(str.swapcase, words)])
        case inspect.StrType(pattern=str(pattern)):
            return st.from_regex(pattern, alphabet=CHARACTERS) | st.sampled_from(["", " ", "\0", "a\n", "-", "a:b"])
        case inspect.VarTupleType(item_type=item, max_length=most):
            lists = st.lists(near_limits(item), max_size=4)
            return lists | st.sampled_from([[0] * most, [0] * (most + 1)]) if most else lists
        case inspect.DictType(key_type=key, value_type=item):
            return st.dictionaries(near_limits(key), near_limits(item) | OTHER_TYPES, max_size=3)
        case inspect.StructType(fields=fields):
            known = {field.name: near_limits(field.type) for field in fields}
            return st.fixed_dictionaries({}, optional=known) | st.fixed_dictionaries({"unknown": st.just(1)})
    raise NotImplementedError(declaration)


def declaration_of(struct: type[msgspec.Struct], name: str) -> inspect.Type:
    return next(inspect.type_info(field.type) for field in msgspec.structs.fields(struct) if field.name == name)


KEYS = {
    **{(table, key): declaration_of(Manifest, key) for table, keys in TABLES.items() for key in keys},
    **{
        ("plugin_runtime", table, key): declaration_of(struct, key)
        for table, struct in {
            "supervisor": SupervisorOptions,
            "restart": Restart,
            "limits": Limits,
            "placement": Placement,
            "logs": LogOptions,
            "watch": Watch,
        }.items()
        for key in struct.__struct_fields__
    },
    **{("plugin_runtime", "checks", "web", key): declaration_of(Check, key) for key in Check.__struct_fields__},
    **{
        ("plugin_runtime", "depends_on", "db", key): declaration_of(Requirement, key)
        for key in Requirement.__struct_fields__
    },
}
NOT_IN_THE_SCHEMA = (
    "the first word of `command` is empty",
    "`command` cannot be split into words",
    "the id ",  # which is reserved but for upper case
    "the first word of `exec` is empty",
    "`exec` cannot be split into words",
    "`tcp` has an IPv6 address that is invalid",
    "`http` has an IPv6 address that is invalid",
    "a plugin cannot depend on itself",
)
"""Rules that are about more than the type, the characters or the range of one value."""
AMOUNTS = {("plugin_runtime", "limits", "memory"), ("plugin_runtime", "logs", "max_size")}
"""Bytes, as a number or a string; for a string the schema has a pattern, and no range."""


@pytest.mark.parametrize("path", KEYS, ids=".".join)
@given(data=st.data())
@hypothesis_settings(max_examples=50)
def test_the_schema_rejects_what_the_reader_rejects(path: tuple[str, ...], data: st.DataObject) -> None:
    document: dict[str, Any] = {"plugin": {"id": "echo", "entry": "a:b"}, "plugin_runtime": {"supervisor": {}}}
    if path == ("plugin", "command"):
        del document["plugin"]["entry"]
    table = document
    for name in path[:-1]:
        table = table.setdefault(name, {})
    if "web" in path and path[-1] not in ("http", "tcp", "exec"):
        table["tcp"] = "localhost:1"
    amounts = (
        st.sampled_from(["1", "63K", "64K", "1M", "1024G", "1025G", "0", "1T"]) if path in AMOUNTS else st.nothing()
    )
    value = table[path[-1]] = data.draw(near_limits(KEYS[path]) | OTHER_TYPES | amounts)

    problem = read(document)

    is_out_of_range = path in AMOUNTS and isinstance(value, str) and re.search(MEMORY_PATTERN, value) and problem
    if not (is_out_of_range or problem.startswith(NOT_IN_THE_SCHEMA)):
        assert VALIDATOR.is_valid(document) == (problem == ""), problem


@pytest.mark.parametrize(
    ("document", "is_valid"),
    [
        ({}, False),
        ({"plugin": []}, False),
        ({"plugin": {"id": "a"}}, False),
        ({"plugin": {"command": "a"}}, False),
        ({"plugin": {"id": "a", "command": "a", "mine": 1}, "mine": 1}, True),
        ({"plugin": {"id": "a", "command": "a"}, "plugin_runtime": {"mine": 1}}, True),
        ({"plugin": {"id": "a", "command": "a"}, "plugin_runtime": 1}, False),
        *(
            ({"plugin": {"id": "a", "command": command}}, is_valid)
            for command, is_valid in {"": False, " \t\r\n": False, "\xa0": True, " a  b": True, "a \0": False}.items()
        ),
        *(
            ({"plugin": {"id": "a", "command": "a"}, "plugin_runtime": {"checks": {"web": check}}}, is_valid)
            for check, is_valid in [
                ({}, False),
                ({"http": "http://[::1]:80/a?b"}, True),
                ({"http": "http://a:80", "tcp": "a:80"}, False),
                ({"http": "http://user:secret@host/"}, False),
                ({"http": "ftp://host/"}, False),
                ({"http": "http://host:65536/"}, False),
                ({"tcp": "host"}, False),
                ({"tcp": "[::1]:5432"}, True),
                ({"exec": "python 'my probe.py'"}, True),
                ({"exec": []}, False),
                ({"exec": ["python", "probe.py"], "on_failure": "restart", "level": "alive"}, True),
            ]
        ),
        *(
            ({"plugin": {"id": "a", "command": "a"}, "plugin_runtime": {"limits": {"memory": memory}}}, is_valid)
            for memory, is_valid in {"512M": True, 1: True, 0: False, "0": False, "1.5G": False, "1T": False}.items()
        ),
        *(({"plugin": {"id": reserved, "command": "a"}}, False) for reserved in RESERVED_IDS),
    ],
)
def test_the_schema_and_the_reader_agree_on_whole_documents(document: dict[str, Any], is_valid: bool) -> None:
    assert VALIDATOR.is_valid(document) == (read(document) == "") == is_valid


@pytest.mark.parametrize("key", ["author", "sdk", "dependency"])
def test_metadata_of_another_type_is_rejected_though_the_reader_leaves_it_out(key: str) -> None:
    document = {"plugin": {"id": "a", "command": "a", key: 1}}
    assert read(document) == ""
    [error] = VALIDATOR.iter_errors(document)
    assert list(error.path) == ["plugin", key]


def test_every_manifest_that_we_have_is_valid() -> None:
    files = [*ROOT.glob("tests/manifests/*/plugin.toml"), *ROOT.glob("plugins/*/plugin.toml")]
    assert len(files) > 10
    assert [file for file in files if not VALIDATOR.is_valid(tomllib.loads(file.read_text("utf-8")))] == []


def test_it_is_a_schema_that_json_can_hold() -> None:
    Draft7Validator.check_schema(json.loads(json.dumps(SCHEMA)))


def test_every_key_is_described() -> None:
    def list_keys(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, value in schema.get("properties", {}).items():
            yield f"{path}.{name}", value
            yield from list_keys(value, f"{path}.{name}")

    keys = dict(list_keys(SCHEMA, "")) | {
        key: value for name, schema in SCHEMA["definitions"].items() for key, value in list_keys(schema, name)
    }
    assert {
        ".plugin.command",
        ".plugin_runtime.environment",
        "SupervisorOptions.startsecs",
        "Sdk.version",
    } < keys.keys()
    assert [key for key, schema in keys.items() if not schema.get("description", "").endswith(".")] == []


def test_every_field_is_a_key_of_one_table() -> None:
    keys = [key for keys in TABLES.values() for key in keys]
    assert sorted(keys) == sorted({*Manifest.__struct_fields__} - {"metadata", "warnings"})

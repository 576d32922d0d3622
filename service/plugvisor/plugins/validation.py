"""Finds the value that a struct's declaration does not allow, and words what it must be.

msgspec's own errors serve no person: they do not name a mapping's key, and some repeat the value, which may be a
secret.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec
from msgspec import inspect

from plugvisor.models.manifest import SupervisorOptions

if TYPE_CHECKING:
    from collections.abc import Mapping


_PLAIN_KEY = re.compile("[A-Za-z0-9_-]+")
_NAMES_OF_ITEMS = {
    "environment": "a variable",
    "environment_files": "a variable",
    "checks": "the name of a check",
    "depends_on": "the id of a dependency",
}
"""How an error words a key of a table in which any may stand."""
_TABLES_OF_ITEMS = {"checks": "<name>] for each check", "depends_on": "<id>] for each dependency"}
"""How the table of an item is written."""


class InvalidValue(NamedTuple):
    """Where a value stands, and what is wrong with it."""

    table: str
    key: str | None
    """None if the table itself is meant."""
    problem: str


def find_invalid(values: Mapping[str, Any], struct: type[msgspec.Struct], tables: Mapping[str, str]) -> InvalidValue:
    """Find the first field of a struct that is missing or has an invalid value.

    Args:
        values: by field; `msgspec.convert(values, struct)` rejects them.
        tables: the table in which each field is a key.
    """
    for field in msgspec.structs.fields(struct):
        table = tables.get(field.name, "")
        if field.name not in values:
            if field.required:
                return InvalidValue(table, None, f"[{table}] needs an `{field.name}`")
        elif not _is_valid(values[field.name], field.type):
            return _explain(values[field.name], field.type, table, field.name)
    options = struct.__struct_fields__
    unknown = next(name for name in values if name not in options)
    table = tables[options[0]]
    if struct is SupervisorOptions:
        problem = f"there is no such option in [{table}]; the options are: {', '.join(options)}"
    elif _PLAIN_KEY.fullmatch(unknown) and (near := get_close_matches(unknown.lower().replace("-", "_"), options, 1)):
        problem = f"there is no key `{unknown}` in [{table}]; did you mean `{near[0]}`?"
    else:
        problem = f"there is no such key in [{table}]; the keys are: {', '.join(options)}"
    return InvalidValue(table, unknown, problem)


def _is_valid(value: object, declared: object) -> bool:
    try:
        msgspec.convert(value, declared)
    except msgspec.ValidationError:
        return False
    return True


def _explain(value: Any, declared: Any, table: str, key: str) -> InvalidValue:
    match _declaration_of(declared):
        case inspect.StructType() | inspect.DictType() if not isinstance(value, dict):
            return InvalidValue(f"{table}.{key}", None, f"[{table}.{key}] must be a table{_word_items(table, key)}")
        case inspect.StructType(cls=struct):
            return find_invalid(value, struct, dict.fromkeys(struct.__struct_fields__, f"{table}.{key}"))
        case inspect.DictType():
            name_type, item_type = get_args(get_args(declared)[0])
            name, item = next(pair for pair in value.items() if not _is_valid(dict([pair]), declared))
            if not _is_valid(name, name_type):
                return InvalidValue(f"{table}.{key}", name, f"{_NAMES_OF_ITEMS[key]} {_word_rule(name, name_type)}")
            if isinstance(_declaration_of(item_type), inspect.StructType):
                return _explain(item, item_type, f"{table}.{key}", name)
            return InvalidValue(f"{table}.{key}", name, f"a variable {_word_rule(item, item_type)}")
        case _:
            return InvalidValue(table, key, f"`{key}` {_word_rule(value, declared)}")


def _word_items(table: str, key: str) -> str:
    """How to write what is in a table of tables, for the table itself and for an item of it."""
    outer, _, name = table.rpartition(".")
    for whole, last in ((f"{table}.{key}", key), (table, name)):
        if outer != whole and last in _TABLES_OF_ITEMS:
            return f": write [{whole}.{_TABLES_OF_ITEMS[last]}"
    return ""


def _declaration_of(declared: Any) -> inspect.Type:
    """A type with its limits, without its description."""
    declaration = inspect.type_info(declared)
    return declaration.type if isinstance(declaration, inspect.Metadata) else declaration


def _word_rule(value: object, declared: Any) -> str:
    """The rule for a value: the declaration's `rule`, if there is one, else by its type and limits."""
    declaration = inspect.type_info(declared)
    rule = (declaration.extra or {}).get("rule") if isinstance(declaration, inspect.Metadata) else None
    match _declaration_of(declared):
        case inspect.StrType() if not isinstance(value, str):
            return "must be a string: write it in quotes"
        case _ if rule:
            return str(rule)
        case inspect.BoolType():
            return "must be true or false"
        case inspect.LiteralType(values=words) | inspect.UnionType(types=(inspect.LiteralType(values=words), _)):
            return f"must be one of {', '.join(map(str, words))}"
        case inspect.FloatType(ge=low, le=high):
            return f"must be a number from {low:g} to {high:g}"
        case inspect.IntType(ge=low, le=high):
            return f"must be a whole number from {low} to {high}"
        case inspect.VarTupleType(item_type=inspect.IntType(ge=low, le=high), min_length=fewest, max_length=most):
            return f"must be a list of {fewest} to {most} whole numbers from {low} to {high}"
        case other:
            raise NotImplementedError(f"no words for {other}")

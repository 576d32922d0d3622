"""Faults of supervisord: each one that the extension raises has a meaning, and every other one is a defect."""

from __future__ import annotations

import ast
import inspect

import pytest
from plugvisor.engines.supervisord.extension.changes import Changes
from plugvisor.engines.supervisord.extension.commands.workers import Workers
from plugvisor.engines.supervisord.extension.programs import Programs
from plugvisor.engines.supervisord.extension.rpcinterface import PluginsNamespace
from plugvisor.engines.supervisord.faults import (
    ConfigurationRejected,
    Fault,
    ForeignProgram,
    NoSuchProgram,
    StillRunning,
    translate_fault,
)
from plugvisor.errors import (
    AlreadyRunning,
    NotRunning,
    OperationInterrupted,
    StartFailed,
    StopTimeout,
    SupervisorConfused,
    SupervisorUnavailable,
)
from supervisor.xmlrpc import Faults

FAULTS = {name: code for name, code in vars(Faults).items() if name.isupper()}
ADDING: dict[str, type[Exception]] = {
    "BAD_NAME": ConfigurationRejected,
    "CANT_REREAD": ConfigurationRejected,
    "ALREADY_ADDED": ForeignProgram,
}
MEANINGS: dict[str, dict[str, type[Exception]]] = {
    "supervisor.getPID": {},
    "supervisor.getState": {},
    "supervisor.getSupervisorVersion": {},
    "system.multicall": {},
    "plugins.sync": {},
    "plugins.add": ADDING,
    "plugins.start": ADDING | {"ALREADY_STARTED": AlreadyRunning, "SPAWN_ERROR": StartFailed},
    "plugins.stop": {
        "BAD_NAME": NotRunning,
        "CANT_REREAD": NotRunning,
        "ALREADY_ADDED": NotRunning,
        "NOT_RUNNING": NotRunning,
        "FAILED": StopTimeout,
    },
    "plugins.restart": ADDING | {"FAILED": StopTimeout},
    "plugins.end": {"FAILED": StopTimeout},
    "plugins.execute": {"BAD_NAME": NotRunning, "NOT_RUNNING": NotRunning, "FAILED": SupervisorUnavailable},
    "plugins.open_worker": {"FAILED": OperationInterrupted},
    "plugins.end_workers": {},
    "plugins.remove": {"BAD_NAME": NoSuchProgram, "STILL_RUNNING": StillRunning},
}
OURS = sorted(name for name in vars(PluginsNamespace) if not name.startswith("_"))


def parse_methods(owner: type) -> dict[str, ast.FunctionDef]:
    [tree] = ast.parse(inspect.getsource(owner)).body
    assert isinstance(tree, ast.ClassDef)
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


CHANGES, PROGRAMS, WORKERS = parse_methods(Changes), parse_methods(Programs), parse_methods(Workers)


def find_raised(methods: dict[str, ast.FunctionDef], name: str, seen: set[str]) -> set[str]:
    """The faults that a method names, or one that it calls."""
    if name not in methods or (key := f"{id(methods)}.{name}") in seen:
        return set()
    seen.add(key)
    found = set()
    for node in ast.walk(methods[name]):
        match node:
            case ast.Attribute(value=ast.Name(id="Faults"), attr=fault):
                found.add(fault)
            case ast.Attribute(value=ast.Name(id="self"), attr=called):
                found |= find_raised(methods, called, seen)
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr="_programs"), attr=called):
                found |= find_raised(PROGRAMS, called, seen)
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr="_workers"), attr=called):
                found |= find_raised(WORKERS, called, seen)
    return found


def test_our_codes_are_supervisors() -> None:
    assert {fault.name: fault.value for fault in Fault} == FAULTS


@pytest.mark.parametrize("method", OURS)
def test_every_fault_that_the_extension_raises_has_a_meaning(method: str) -> None:
    [called] = [
        node.attr
        for node in ast.walk(parse_methods(PluginsNamespace)[method])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)
    ]
    raised = find_raised(CHANGES, called, set()) - {"SHUTDOWN_STATE"}
    meanings = {fault: translate_fault(f"plugins.{method}", FAULTS[fault], "") for fault in raised}
    assert not [fault for fault, error in meanings.items() if isinstance(error, SupervisorConfused)], meanings


def test_faults_are_found_in_the_source() -> None:
    raised = find_raised(CHANGES, "start", set())
    assert raised == {"SHUTDOWN_STATE", "ALREADY_STARTED", "SPAWN_ERROR", "BAD_NAME", "CANT_REREAD", "ALREADY_ADDED"}


@pytest.mark.parametrize("method", MEANINGS)
def test_the_meaning_of_every_fault_of_every_method(method: str) -> None:
    for name, code in [*FAULTS.items(), ("of the future", 12345)]:
        expected = MEANINGS[method].get(name, SupervisorConfused)
        if name == "SHUTDOWN_STATE" or (name == "UNKNOWN_METHOD" and method.startswith("plugins.")):
            expected = SupervisorUnavailable
        assert type(translate_fault(method, code, "text")) is expected, name


def test_a_supervisord_without_the_extension_is_named_with_the_lines_to_add() -> None:
    text = str(translate_fault("plugins.sync", Fault.UNKNOWN_METHOD, "UNKNOWN_METHOD"))
    assert "[rpcinterface:plugins]\nsupervisor.rpcinterface_factory = plugvisor." in text
    module, _, function = text.partition("rpcinterface_factory = ")[2].partition("\n")[0].partition(":")
    assert inspect.getmodule(PluginsNamespace).__name__ == module  # type: ignore[union-attr]
    assert function == "make_rpcinterface"

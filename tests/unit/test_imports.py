"""The layers: imports go one way, what runs elsewhere stands alone, and no file or folder is too large.

An import for types alone counts too: whoever reads one file must know the other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "service"
LAYERS = [
    {"__main__"},
    {"cli"},
    {"api"},
    {"manager"},
    {"engines"},
    {"plugins", "store", "logs", "metrics"},
    {"installer"},
    {"webhook_secret"},
    {"admin_code", "settings"},
    {"swarm_settings"},
    {"setting_values"},
    {"setting_folders"},
    {"users", "models", "timestamps", "layout", "variables", "variable_files", "json_lines", "ticks"},
    {"errors", "__init__"},
]
"""From top to bottom. A part may import itself and what is below it; parts of one layer do not know each other."""
STANDALONE = {
    "plugvisor.engines.supervisord.extension": {"supervisor"},  # runs inside supervisord
    "plugvisor.engines.swarm.inside": set(),  # runs inside a task
    "plugvisor.runner": set(),  # runs inside a plugin's process
    "plugvisor.installer": set(),  # runs as the plugins' user
}
"""What imports nothing else of ours but `SHARED`, and of others only these packages."""
SHARED = ("plugvisor.layout", "plugvisor.variable_files", "plugvisor.json_lines")
MOST_LINES = 300
MOST_MODULES = 14
EXCEPTIONS = {
    "plugvisor/engines/supervisord/extension/processes/orphans.py": "one search, in slices",
}


def name_module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


MODULES = {name_module(path): path for path in sorted(SOURCE.rglob("*.py"))}


def find_imports(source: str, module: str) -> set[str]:
    """What a module imports, wherever in it: our modules by their whole name, others' packages by the first part."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from plugvisor.plugins import manifest` means the module, not the package
            names = {f"{origin}.{alias.name}" for alias in node.names}
            found |= (names & MODULES.keys()) or {origin}
    return {
        (name if name in MODULES else f"{name}.__init__") if is_ours(name) else name.partition(".")[0] for name in found
    }


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "plugvisor"


IMPORTS = {module: find_imports(path.read_text(encoding="utf-8"), module) for module, path in MODULES.items()}
OURS = {module: {name for name in names if is_ours(name)} for module, names in IMPORTS.items()}


def find_part(module: str) -> str:
    return module.split(".")[1]


def find_layer(module: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if find_part(module) in layer)


# -- layers


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    for imported in OURS[module]:
        is_own_part = find_part(imported) == find_part(module)
        assert is_own_part or find_layer(imported) > find_layer(module), f"{module} imports {imported}"


def test_there_are_no_cycles() -> None:
    """The type of `request.state` names every part of the API, and each part's requests name it."""
    list(TopologicalSorter(OURS | {"plugvisor.api.state": set()}).static_order())  # raises CycleError


@pytest.mark.parametrize("package", STANDALONE)
def test_what_runs_in_another_process_stands_alone(package: str) -> None:
    modules = [module for module in MODULES if module.startswith(f"{package}.")]
    assert modules
    for module in modules:
        assert not [name for name in OURS[module] if not name.startswith((f"{package}.", *SHARED))], module
        others = {name for name in IMPORTS[module] if not is_ours(name)}
        assert others - sys.stdlib_module_names <= STANDALONE[package], module


@pytest.mark.parametrize("module", SHARED)
def test_what_they_share_stands_alone(module: str) -> None:
    assert not OURS[module]
    assert IMPORTS[module] <= sys.stdlib_module_names


def test_supervisord_is_known_to_its_engine_alone() -> None:
    """One module chooses the engine; everything else but the command knows the protocol alone."""
    engine, choosing = "plugvisor.engines.supervisord.", {"plugvisor.engines.choice"}
    for module in MODULES.keys() - choosing:
        if find_part(module) != "cli" and not module.startswith(engine):
            assert not [name for name in OURS[module] if name.startswith(engine)], module
            assert "supervisor" not in IMPORTS[module], module


def test_http_is_known_to_the_api_and_the_command_alone() -> None:
    for module, names in IMPORTS.items():
        if find_part(module) not in ("api", "cli"):
            assert not names & {"starlette", "uvicorn", "http"}, module


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import plugvisor.errors as e, os", {"plugvisor.errors", "os"}),
        ("from plugvisor.models import log, body", {"plugvisor.models.log", "plugvisor.models.body"}),
        ("from plugvisor.errors import NotRunning", {"plugvisor.errors"}),
        ("from plugvisor import VERSION", {"plugvisor.__init__"}),
        ("def f():\n from . import manifest", {"plugvisor.plugins.manifest"}),
        ("from .manifest import Manifest", {"plugvisor.plugins.manifest"}),
        ("from ..errors import NotRunning", {"plugvisor.errors"}),
        ("if TYPE_CHECKING:\n import plugvisor.settings", {"plugvisor.settings"}),
        ("import plugvisors.x, os.path", {"plugvisors", "os"}),
    ],
)
def test_imports_are_found(source: str, imported: set[str]) -> None:
    assert find_imports(source, "plugvisor.plugins.catalog") == imported


# -- what a start waits for


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("plugvisor.cli.service", {"httpx", "packaging", "pathspec", "psutil", "rich", "tomlkit"}),
        ("plugvisor.cli.supervised", {"asyncio", "httpx", "packaging", "pathspec", "psutil", "starlette", "uvicorn"}),
    ],
)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="psutil takes the place of /proc")
def test_a_start_imports_nothing_that_few_need(module: str, unneeded: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not unneeded & set(done.stdout.split())


# -- sizes


def is_excepted(path: Path) -> bool:
    return str(path.relative_to(SOURCE)) in EXCEPTIONS


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_bytes().splitlines()) for path in MODULES.values() if not is_excepted(path)}
    assert not {str(path): length for path, length in lengths.items() if length > MOST_LINES}


def test_no_folder_holds_too_many_modules() -> None:
    folders = {path.parent for path in MODULES.values()}
    counts = {folder: len(list(folder.glob("[!_]*.py"))) for folder in folders if not is_excepted(folder)}
    assert not {str(folder): count for folder, count in counts.items() if count > MOST_MODULES}


def test_exceptions_name_what_is_there() -> None:
    assert not [path for path in EXCEPTIONS if not (SOURCE / path).exists()]

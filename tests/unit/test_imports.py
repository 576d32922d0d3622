"""Imports go one way. What is imported for its types alone counts too: whoever reads one file must know the other."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "service"

LAYERS = [
    {"plugvisor.cli.main", "plugvisor.engines.supervisord.run_folder", "plugvisor.engines.supervisord.boot"},
    {"service.api"},
    {
        "plugvisor.manager.manager",
        "plugvisor.manager.operations",
        "plugvisor.manager.pending_restarts",
        "plugvisor.engines.supervisord.registry",
        "plugvisor.manager.status",
    },
    {"service.plugins", "service.supervisord", "service.metrics", "service.logs"},
    {"plugvisor.admin_code", "plugvisor.engines.supervisord.extension.process_tag", "plugvisor.settings"},
    {"plugvisor.users"},
    {"plugvisor.errors", "service"},
]
"""From top to bottom, modules and packages. Each may import what stands below it and its own package."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SERVICE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(SERVICE.rglob("*.py"))}


def imports_of(source: str, module: str, is_package: bool = False) -> set[str]:
    """The modules of ours that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            base = parts[: len(parts) - node.level + is_package] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # of `from service.plugins import manifest` the module is meant, not the package
            names = {f"{origin}.{alias.name}" for alias in node.names}
            found |= (names & MODULES.keys()) or {origin}
    return {name for name in found if name.split(".")[0] == "service"}


IMPORTS = {
    module: imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
    for module, path in MODULES.items()
}


def part_of(module: str) -> str:
    """The module or package of `LAYERS` to which a module belongs: the longest name that fits."""
    parts = [part for layer in LAYERS for part in layer if f"{module}.".startswith(f"{part}.")]
    part = max(parts, key=len)
    assert part != "service" or module == "service", f"{module} has no place in LAYERS"
    return part


def layer_of(module: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part_of(module) in layer)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_what_stands_below_it(module: str) -> None:
    for imported in IMPORTS[module]:
        is_own_package = part_of(imported) == part_of(module) and part_of(module) != module
        is_beside = (
            layer_of(imported) == layer_of(module) and part_of(module) == module and part_of(imported) == imported
        )
        assert layer_of(imported) > layer_of(module) or is_own_package or is_beside, f"{module} imports {imported}"


def test_there_is_no_cycle() -> None:
    list(TopologicalSorter(IMPORTS).static_order())  # raises CycleError


def test_plugins_supervisord_metrics_and_logs_do_not_know_each_other() -> None:
    packages = {"service.plugins", "service.supervisord", "service.metrics", "service.logs"}
    met = {(part_of(module), part_of(name)) for module, names in IMPORTS.items() for name in names}
    assert not met & {(one, other) for one in packages for other in packages if one != other}


def test_the_runner_imports_nothing_of_ours() -> None:
    assert IMPORTS["plugvisor.runner.__main__"] == set()


def test_nothing_imports_the_command() -> None:
    assert not [module for module, names in IMPORTS.items() if "plugvisor.cli.main" in names]


def test_http_is_known_to_the_api_and_the_command_alone() -> None:
    """`httpx` is our client of supervisord, whose protocol happens to be HTTP."""
    for module, path in MODULES.items():
        if part_of(module) in ("service.api", "plugvisor.cli.main"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", []) if isinstance(node, ast.Import)]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"starlette", "uvicorn", "http"}, module


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import plugvisor.errors as e, os", {"plugvisor.errors"}),
        ("from service.plugins import manifest, catalog", {"plugvisor.plugins.manifest", "plugvisor.plugins.catalog"}),
        ("from plugvisor.errors import NotRunning", {"plugvisor.errors"}),
        ("from plugvisor import VERSION", {"service"}),
        ("def f():\n from . import manifest", {"plugvisor.plugins.manifest"}),
        ("from .manifest import Manifest", {"plugvisor.plugins.manifest"}),
        ("from ..errors import NotRunning", {"plugvisor.errors"}),
        ("if TYPE_CHECKING:\n import plugvisor.settings", {"plugvisor.settings"}),
        ("import services.x, os.path", set()),
    ],
)
def test_imports_are_found(source: str, imported: set[str]) -> None:
    assert imports_of(source, "plugvisor.plugins.catalog") == imported

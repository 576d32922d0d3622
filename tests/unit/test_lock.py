"""constraints.txt and the lock files against pyproject.toml: `scripts/lock` writes them from it."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
CONSTRAINTS, LOCK, BUILD_LOCK = "constraints.txt", "requirements.lock", "requirements-build.lock"


def read_requirements(name: str) -> list[Requirement]:
    """The requirements of a generated file, without their hashes."""
    lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    return [Requirement(line.partition(" --hash=")[0]) for line in lines if line and not line.startswith("#")]


def read_pins(name: str) -> dict[str, str]:
    """The version of each package in a generated file."""
    return {canonicalize_name(pin.name): str(pin.specifier) for pin in read_requirements(name)}


def applies(requirement: Requirement, extra: str) -> bool:
    """Whether this interpreter on this platform needs a requirement."""
    return requirement.marker is None or requirement.marker.evaluate({**default_environment(), "extra": extra})


def find_needed(requirements: list[str]) -> set[str]:
    """The names of these packages and of all that they need here, as far as they are installed."""
    found: set[tuple[str, str]] = set()
    pending = [(Requirement(line), "") for line in requirements]
    while pending:
        requirement, parent_extra = pending.pop()
        name = canonicalize_name(requirement.name)
        new = {(name, extra) for extra in ("", *requirement.extras)} - found
        if not applies(requirement, parent_extra) or not new:
            continue
        found |= new
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue  # of an extra that is not installed
        pending += [(Requirement(line), extra) for _, extra in new for line in needed]
    return {name for name, _ in found}


@pytest.mark.parametrize(
    ("name", "requirements"),
    [
        (CONSTRAINTS, [*PROJECT["project"]["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]),
        (LOCK, PROJECT["project"]["dependencies"]),
        (BUILD_LOCK, PROJECT["build-system"]["requires"]),
    ],
)
def test_direct_dependencies_have_a_version_that_pyproject_allows(name: str, requirements: list[str]) -> None:
    pins = read_pins(name)
    for wanted in map(Requirement, requirements):
        version = pins[canonicalize_name(wanted.name)].removeprefix("==")
        assert wanted.specifier.contains(version), f"{wanted}, not {version}: run scripts/lock"


def test_dependencies_are_ranges_but_supervisor() -> None:
    """Whoever installs Plugvisor beside other packages has a choice; of supervisor we use what is internal."""
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        operators = sorted(specifier.operator for specifier in requirement.specifier)
        assert operators == (["=="] if requirement.name == "supervisor" else ["<", ">="]), requirement


def test_the_lock_holds_what_the_service_needs_and_nothing_else() -> None:
    locked = {canonicalize_name(pin.name) for pin in read_requirements(LOCK) if applies(pin, "")}
    assert locked == find_needed(PROJECT["project"]["dependencies"]), "run scripts/lock"


def test_the_lock_and_the_constraints_have_the_same_versions() -> None:
    constraints = read_pins(CONSTRAINTS)
    pins = read_pins(LOCK)
    assert {package: constraints.get(package) for package in pins} == pins, "run scripts/lock"


def test_every_installed_package_is_constrained() -> None:
    """A host that installs now gets what the tests ran with."""
    needed = find_needed([*PROJECT["project"]["dependencies"], *EXTRAS["test"]])
    assert needed - set(read_pins(CONSTRAINTS)) == set(), "run scripts/lock"


@pytest.mark.parametrize("name", [LOCK, BUILD_LOCK])
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.findall(
        r"^\S+==\S+(?: ; [^\\\n]+)? \\\n(?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE
    )
    assert "".join(entries) == "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


@pytest.mark.parametrize("name", [CONSTRAINTS, LOCK, BUILD_LOCK])
def test_no_registry_is_named(name: str) -> None:
    assert not re.search(r"://|^\s*-(?!-hash=)", (ROOT / name).read_text(), re.MULTILINE)

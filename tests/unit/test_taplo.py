"""The schema in a real editor's tool: Taplo, the language server for TOML, which npm can install."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "@taplo/cli@0.7.0"
INSTALL_SECONDS, LINT_SECONDS = 120, 120
MISTAKES = """
[plugin_runtime.supervisor]
startsecs = "soon"

[plugin_runtime.checks.web]
tcp = "localhost:1"
perid = 3
"""


@pytest.fixture(scope="module")
def taplo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command, which nothing of Plugvisor needs."""
    if found := shutil.which("taplo"):
        return found
    if shutil.which("npm") is None:
        pytest.skip("there is neither taplo nor npm here")
    folder = tmp_path_factory.mktemp("taplo")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not install {PACKAGE} in time")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    return str(folder / "node_modules" / ".bin" / "taplo")


def lint(taplo: str, file: Path) -> tuple[int, str]:
    done = subprocess.run(
        [taplo, "lint", "--colors=never", file.name],
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=LINT_SECONDS,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_manifest_of_a_new_plugin_is_checked(taplo: str, tmp_path: Path) -> None:
    """By the schema that its first line names."""
    assert main(["new", "echo", "--into", str(tmp_path)]) == 0
    manifest = tmp_path / "echo" / "plugin.toml"
    status, output = lint(taplo, manifest)
    assert status == 0, output
    manifest.write_text(manifest.read_text().replace('"echo"', '"not an id"') + MISTAKES)
    status, output = lint(taplo, manifest)
    assert status == 1
    for mistake in ('"not an id" does not match', '"soon" is not of type "integer"', "'perid' was unexpected"):
        assert mistake in output, output

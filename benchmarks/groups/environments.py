"""The environment of one more plugin with the dependencies that others have, against `venv` and `pip`."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.installer.environment import build

from benchmarks.result import Goal, Result, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

WHEELS = 10
MODULES = 250
MODULE_BYTES = 16 * 1024
"""Together 40 MB in 2,500 files."""
REFERENCE_ROUNDS = 3
PIP = "venv and pip"


def measure_environments(testbed: Testbed) -> Iterator[Result]:
    """The first environment fills the cache; each later one is links to it."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as root:  # not in memory: links need the disk of plugins
        folder = Path(root)
        requirements = _write_wheels(folder / "wheels")
        seconds, megabytes = zip(
            *(_build(folder, f"plugin-{number}", requirements) for number in range(testbed.plugins)), strict=True
        )
        with_pip = [_install_with_pip(folder / f"pip-{number}", requirements) for number in range(REFERENCE_ROUNDS)]
    pip_seconds, pip_megabytes = zip(*with_pip, strict=True)
    later = f"the environment of a plugin with the same {WHEELS} dependencies as others"
    yield Result(
        f"{later}: time", testbed.plugins, "s", Sample.of(seconds[1:]), PIP, Sample.of(pip_seconds), goal=Goal(1)
    )
    yield Result(
        f"{later}: disk", testbed.plugins, "MB", Sample.of(megabytes[1:]), PIP, Sample.of(pip_megabytes), goal=Goal(5)
    )
    yield Result("the environment of the first of them", testbed.plugins, "s", Sample(seconds[0], None, 1))


def _build(folder: Path, name: str, requirements: str) -> tuple[float, float]:
    """Make the environment of one plugin; returns seconds, and how many megabytes less the disk has."""
    version = folder / name / "versions" / "1"
    version.mkdir(parents=True)
    version.joinpath("requirements.txt").write_text(requirements)
    before, began = _measure_used(folder), time.perf_counter()
    build(str(version), "", 600, str(folder / "cache"), say=lambda _: None)
    seconds = time.perf_counter() - began
    return seconds, _measure_used(folder) - before


def _install_with_pip(folder: Path, requirements: str) -> tuple[float, float]:
    """Do the same in the usual way: an environment with pip, which unpacks each wheel again."""
    folder.mkdir()
    folder.joinpath("requirements.txt").write_text(requirements)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "venv", folder / ".venv"], check=True)
    command = [folder / ".venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--no-compile", "-r", folder / "requirements.txt"], check=True)
    return time.perf_counter() - began, _measure_used(folder)


def _measure_used(folder: Path) -> float:
    """The megabytes that a folder takes; a file with several links counts once."""
    seen: dict[int, int] = {}
    for directory, _, names in os.walk(folder):
        for name in (".", *names):
            status = os.lstat(os.path.join(directory, name))
            seen[status.st_ino] = status.st_blocks * 512
    return sum(seen.values()) / 1e6


def _write_wheels(folder: Path) -> str:
    """Write wheels of modules that do not compress well, and return what requires them all."""
    folder.mkdir()
    letters = random.Random(1)
    for number in range(WHEELS):
        name, info = f"lib{number}", f"lib{number}-1.0.dist-info"
        files = {
            f"{name}/m{index}.py": f"x = {letters.randbytes(MODULE_BYTES // 2).hex()!r}\n" for index in range(MODULES)
        }
        files |= {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"}
        files |= {f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
        rows = [f"{path},sha256={_hash(text)},{len(text)}" for path, text in files.items()]
        files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
    return "\n".join(["--no-index", f"--find-links {folder}", *(f"lib{number}" for number in range(WHEELS))])


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()

"""`plugvisor doctor`."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING

from plugvisor.cli.doctor.finding import Finding, from_error, ok, problem
from plugvisor.cli.output import has_color, make_printable, paint
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

SYSTEM_CHECKS = (
    ("python", "installation:check_python"),
    ("packages", "installation:check_packages"),
    ("uv", "installation:check_uv"),
    ("path", "installation:check_path"),
    ("proc", "system:check_proc"),
    ("clock", "system:check_clock"),
    ("locale", "system:check_locale"),
    ("temporary files", "disks:check_temporary_files"),
    ("variables", "configuration:check_variables"),
    ("secrets", "configuration:check_secrets"),
)
"""By name: `module:function` here, which is called with the environment. What cannot be imported is a finding, too."""
CHECKS = (
    ("supervisor", "installation:check_supervisor"),
    ("folders", "folders:check_folders"),
    ("disks", "disks:check_disks"),
    ("run folder", "run_folder:check_run_folder"),
    ("address", "address:check_address"),
    ("limits", "limits:check_resources"),
    ("control groups", "limits:check_control_groups"),
    ("plugins", "plugins:check_plugins"),
    ("page", "configuration:check_page"),
    ("swarm", "swarm:check_swarm"),
)
"""The same, called with the settings; one that is about another engine finds nothing."""
_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


def run_doctor(arguments: argparse.Namespace) -> int:
    """Run every check; exit status 1 if there is a problem."""
    found = list(run_checks(os.environ))
    counts = Counter(finding.level for _, finding in found)
    if arguments.json:
        findings = [{"check": name, **asdict(finding)} for name, finding in found]
        print(json.dumps({"findings": findings, "problems": counts["problem"], "warnings": counts["warning"]}))
        return 1 if counts["problem"] else 0
    is_colored = has_color(sys.stdout)
    for name, finding in found:
        level = paint(f"{finding.level:<8}", _COLORS[finding.level] if is_colored else "")
        print(f"{level} {name}: {make_printable(finding.detail)}")
        if finding.advice:
            print(f"{'':8} {make_printable(finding.advice)}")
    print(f"{len(found)} findings: {_count(counts['problem'], 'problem')}, {_count(counts['warning'], 'warning')}")
    return 1 if counts["problem"] else 0


def run_checks(environ: Mapping[str, str]) -> Iterator[tuple[str, Finding]]:
    """Run every check; yields each finding with the check's name."""
    for name, function in SYSTEM_CHECKS:
        yield from _run(name, function, environ)
    try:
        settings = Settings.from_env(environ)
    except ConfigurationError as error:
        yield "settings", from_error(error, "see docs/configuration.md; what depends on the settings was not checked")
        return
    yield "settings", ok(f"they are valid; the engine is {settings.engine}")
    for name, function in CHECKS:
        yield from _run(name, function, settings)


def _run(name: str, function: str, argument: object) -> Iterator[tuple[str, Finding]]:
    module, _, attribute = function.partition(":")
    try:
        for finding in getattr(import_module(f"plugvisor.cli.doctor.{module}"), attribute)(argument):
            yield name, finding
    except Exception as error:  # noqa: BLE001 - whatever is wrong with this machine is a finding
        reason = getattr(error, "strerror", None) or str(error) or "no reason is given"
        yield (
            name,
            problem(
                f"this cannot be checked: {type(error).__name__}: {reason}",
                "another problem may be the cause; if there is none, this is a defect of Plugvisor",
            ),
        )


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"

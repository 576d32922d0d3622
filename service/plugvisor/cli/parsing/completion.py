"""Completion in bash, zsh and fish: `plugvisor completion`, and what the shells ask for."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import argcomplete
from argcomplete.shell_integration import shellcode

from plugvisor.cli.connection.options import apply_options
from plugvisor.cli.parsing.parser import PROGRAM, make_parser

if TYPE_CHECKING:
    import argparse

LONGEST_SECONDS = 0.2
"""The time that the service has to list the plugins: a person waits for it after each Tab."""


def run_completion(arguments: argparse.Namespace) -> int:
    """Print what a shell is to evaluate."""
    # without the defaults: the names of files are no ids
    print(shellcode([PROGRAM], shell=arguments.shell, use_defaults=False))
    return 0


def complete() -> None:
    """Answer the shell that has set `_ARGCOMPLETE`, and end the process."""
    argcomplete.autocomplete(make_parser(complete_ids), always_complete_options=False)


def complete_ids(parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """The ids of the plugins; none if the service does not answer in time, without a word."""
    from plugvisor.cli.client import Client  # noqa: PLC0415 - most of what is completed is no id

    ids: list[str] = []

    def ask() -> None:
        with suppress(Exception):
            apply_options(os.environ, parsed_args.url, parsed_args.token)
            plugins = Client.from_env(os.environ).call("GET", "/plugins", None, LONGEST_SECONDS)["plugins"]
            found = [plugin["id"] for plugin in plugins]
            # a shell prints what it offers, whatever that would do to the terminal
            ids.extend(one for one in found if isinstance(one, str) and one.isprintable())

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LONGEST_SECONDS)
    return [*ids]

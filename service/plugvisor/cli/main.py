# PYTHON_ARGCOMPLETE_OK
"""The command `plugvisor`: each verb's function is in the module of its group, which is imported when it is called."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from plugvisor.cli.output import print_error
from plugvisor.cli.parsing.parser import parse
from plugvisor.cli.verbs.table import VERBS
from plugvisor.errors import CommandRejected, ConfigurationError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

__all__ = ["VERBS", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; exit status 2 is an unusable configuration, and 1 often a rejection, which stderr explains."""
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except ConfigurationError as error:
        print_error(str(error))
        return 2
    except CommandRejected as error:
        print_error(str(error))
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # as a shell has it; uvicorn raises the signal again after its clean end
    except BrokenPipeError:
        # as `head` ends what it reads from; Python would write again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _run(argv: Sequence[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:
        from plugvisor.cli.parsing.completion import complete  # noqa: PLC0415 - a shell asks for it

        complete()
    arguments = parse(argv)
    if arguments.verb.asks:
        from plugvisor.cli.connection.options import apply_options  # noqa: PLC0415 - other verbs do not ask

        apply_options(os.environ, arguments.url, arguments.token)
    module, _, function = arguments.verb.function.partition(":")
    run: Callable[[Namespace], int] = getattr(import_module(f"plugvisor.cli.{module}"), function)
    try:
        return run(arguments)
    except UnicodeEncodeError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        if not arguments.verb.asks:
            raise
        from plugvisor.cli.connection.failure import describe_odd_answer  # noqa: PLC0415 - it is rare

        raise describe_odd_answer(error) from error

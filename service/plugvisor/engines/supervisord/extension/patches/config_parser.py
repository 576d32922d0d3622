"""Parsing the configuration in time that grows with the number of files, not with its square.

supervisor 4.3.0 reads every included file into one parser and then goes through all sections read so far, twice:
1,000 programs take it seconds, at the start and at each `reloadConfig`, during which it does nothing else.
"""

from __future__ import annotations

import os
import stat
from configparser import RawConfigParser, SectionProxy
from typing import TYPE_CHECKING, Any

from supervisor.options import UnhosedConfigParser

from plugvisor.engines.supervisord.extension.patches.operators import admit

if TYPE_CHECKING:
    from collections.abc import Iterable


def install_linear_parser() -> None:
    """Replace the two methods of supervisor's parser; once more does no harm."""
    UnhosedConfigParser.read = read
    UnhosedConfigParser.expand_here = expand_here


def read(parser: Any, filenames: str | Iterable[str], **kwargs: Any) -> list[str]:
    """`UnhosedConfigParser.read`: parse each file by itself, then add its sections."""
    found = []
    for filename in [filenames] if isinstance(filenames, str) else filenames:
        part = RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
        found += _read_file(part, filename, **kwargs)
        if not admit(parser, part.sections(), filename):
            continue
        for section, options in part._sections.items():  # type: ignore[attr-defined] # noqa: SLF001 - the public way copies option by option
            if section not in parser._sections:  # noqa: SLF001
                parser._sections[section] = options  # noqa: SLF001
                parser._proxies[section] = SectionProxy(parser, section)  # noqa: SLF001
                parser.section_to_file[section] = filename
            else:
                parser._sections[section].update(options)  # noqa: SLF001
        parser._defaults.update(part._defaults)  # type: ignore[attr-defined] # noqa: SLF001
        # a default belongs to every section
        read_now = parser.sections() if part.defaults() else part.sections()
        parser.unexpanded = [*getattr(parser, "unexpanded", ()), *read_now]
    return found


def expand_here(parser: Any, here: str | None) -> None:
    """`UnhosedConfigParser.expand_here`, for the sections that were read since the last call."""
    unexpanded, parser.unexpanded = getattr(parser, "unexpanded", None), []
    for section in parser.sections() if unexpanded is None else unexpanded:
        for key, value in parser.items(section):
            if "%(here)s" in value:
                if here is None:
                    raise AssertionError("here has not been set to a path")
                parser.set(section, key, value.replace("%(here)s", here))


def _read_file(parser: RawConfigParser, filename: str, encoding: str | None = None) -> list[str]:
    """`RawConfigParser.read` for one file; what is no regular file is skipped: supervisord would wait for a pipe."""
    try:
        with open(filename, encoding=encoding, opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return []
            parser.read_file(file, filename)
    except OSError:
        return []
    return [filename]


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

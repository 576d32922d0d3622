"""Reads the files that hold the values of variables, `[plugin_runtime.environment_files]`.

Run by its path, it is a program that does so with the rights of its user, and may be held up by a file without holding
up anybody else:

    python -I -S variable_files.py launch INPUT REPORT    become the plugin that the descriptor INPUT describes
    python -I -S variable_files.py values                 write the values of the files on standard input

It starts faster without `site` and `json`, so what it reads and writes are lists of strings that end with NUL.
"""

from __future__ import annotations

import os
import signal
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import NoReturn

LONGEST_BYTES = 128 * 1024 - 1
"""Of a name and its value with the equals sign: Linux passes no longer variable to a process."""
READ_SECONDS = 5
"""How long the files may take to be read."""
PROGRAM = os.path.abspath(__file__)

_IRREGULAR, _TOO_LARGE, _NUL, _TOO_SLOW, _UNKNOWN = -1, -2, -3, -4, -5
_WORDS = {
    _IRREGULAR: "it is no regular file",
    _TOO_LARGE: "it is longer than a variable can be",
    _NUL: "it has a NUL character",
    _TOO_SLOW: f"it cannot be read within {READ_SECONDS} seconds",
    _UNKNOWN: "the program that reads it has failed",
}
_LARGEST_ERROR = 4095
"""Of Linux's error numbers."""
_LONGEST_SHOWN = 64
_COMMAND = -1


class VariableFileError(Exception):
    """The file of a variable cannot be used; its text names the variable, and neither the file nor what is in it.

    Attributes:
        name: of the variable.
        code: an error number, or one of this module's if it is negative.
    """

    def __init__(self, name: str, code: int = _UNKNOWN) -> None:
        super().__init__(name, code)
        self.name = name
        self.code = code

    def __str__(self) -> str:
        shown = self.name if len(self.name) <= _LONGEST_SHOWN else f"{self.name[:_LONGEST_SHOWN]}…"
        return f"cannot read the file of the variable {shown!r}: {_WORDS.get(self.code) or os.strerror(self.code)}"


def read_values(files: Mapping[str, str]) -> dict[str, bytes]:
    """Read the value of each variable from its file; a line break at the end is not part of it. Blocks.

    Args:
        files: absolute paths by the variables' names.

    Raises:
        VariableFileError
    """
    values = {}
    for name, path in files.items():
        try:
            values[name] = _read_value(encode(path), LONGEST_BYTES - len(encode(name)) - 1)
        except _TooSlow:
            raise VariableFileError(name, _TOO_SLOW) from None
        except OSError as error:
            raise VariableFileError(name, error.errno or _UNKNOWN) from error
        except ValueError as error:
            raise VariableFileError(name, error.args[0]) from error
    return values


def find_problem(name: str, path: str) -> VariableFileError | None:
    """Check the file of a variable without opening it; None if nothing is known to be wrong."""
    try:
        status = os.stat(encode(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        return VariableFileError(name, error.errno or _UNKNOWN)
    except (OSError, ValueError):
        return None  # the plugin's user may have other rights
    return None if stat.S_ISREG(status.st_mode) else VariableFileError(name, _IRREGULAR)


def encode(text: str) -> bytes:
    """The bytes of a string, whatever the locale; a lone surrogate is a byte that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


# -- what the program reads, and what it reports


def pack_launch(arguments: Sequence[str], environment: Mapping[str, str], files: Mapping[str, str]) -> bytes:
    """The input of `launch`; a variable of the files replaces that of the environment."""
    return _pack(arguments) + _pack(_flatten(environment)) + _pack(_flatten(files))


def parse_report(report: bytes, names: Sequence[str]) -> VariableFileError | OSError | None:
    """Why `launch` has not become the plugin; None if it reports nothing that can be understood.

    Args:
        names: of the variables, in the order of the files.
    """
    try:
        index, code = map(int, report.split())
    except ValueError:
        return None
    if not _UNKNOWN <= code <= _LARGEST_ERROR:  # other processes of the plugin's user could write it, too
        return None
    if index == _COMMAND:
        return OSError(code, os.strerror(code)) if code >= 0 else None
    return VariableFileError(names[index], code) if 0 <= index < len(names) else None


def pack_files(files: Mapping[str, str]) -> bytes:
    """The input of `values`."""
    return _pack(_flatten(files))


def parse_values(data: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """Parse the output of `values`; raises `VariableFileError`."""
    kind, _, rest = data.partition(b"\0")
    values = rest.split(b"\0")[:-1]
    if kind != b"values" or len(values) != len(names):
        error = parse_report(rest, names) if kind == b"failed" else None
        raise error if isinstance(error, VariableFileError) else VariableFileError(names[0])
    return dict(zip(names, values, strict=True))


def _flatten(pairs: Mapping[str, str]) -> list[str]:
    return [text for pair in pairs.items() for text in pair]


def _pack(texts: Iterable[str]) -> bytes:
    encoded = [encode(text) for text in texts]
    return b"".join(text + b"\0" for text in (b"%d" % len(encoded), *encoded))


def _unpack(data: bytes) -> Iterator[list[bytes]]:
    texts = data.split(b"\0")[:-1]
    while texts:
        count = int(texts[0])
        yield texts[1 : 1 + count]
        del texts[: 1 + count]


def _pair(texts: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(texts[::2], texts[1::2], strict=True))


# -- the program


class _TooSlow(Exception):
    """The files take too long."""


def _read_value(path: bytes, longest_bytes: int) -> bytes:
    """Raises `OSError`, or `ValueError` with one of our codes."""
    # whatever was put there: a FIFO would wait for a writer, and a terminal would become that of this process
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    data = b""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(_IRREGULAR)
        while len(data) <= longest_bytes + 1 and (more := os.read(descriptor, longest_bytes + 2 - len(data))):
            data += more
    finally:
        os.close(descriptor)
    value = data.removesuffix(b"\n")
    if b"\0" in value:
        raise ValueError(_NUL)
    if len(value) > longest_bytes:
        raise ValueError(_TOO_LARGE)
    return value


def _read_in_time(files: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    def give_up(*_: object) -> NoReturn:
        raise _TooSlow

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, READ_SECONDS)
    decoded = {_decode(name): _decode(path) for name, path in files.items()}
    try:
        values = read_values(decoded)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # which the plugin would have, too
    return {encode(name): value for name, value in values.items()}


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _launch(source: int, report: int) -> None:
    os.set_inheritable(report, False)  # it is closed when the plugin is executed
    with open(source, "rb") as file:
        arguments, environment, files = _unpack(file.read())
    names = [_decode(name) for name in files[::2]]
    index = _COMMAND
    try:
        complete = _pair(environment) | _read_in_time(_pair(files))
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # which Python ignores, and a program would go on ignoring
        os.execvpe(arguments[0], arguments, complete)
    except VariableFileError as error:
        index, code = names.index(error.name), error.code
    except OSError as error:
        code = error.errno or 0
    _write(report, b"%d %d" % (index, code))


def _write_values() -> None:
    [files] = _unpack(sys.stdin.buffer.read())
    names = [_decode(name) for name in files[::2]]
    try:
        values = _read_in_time(_pair(files))
    except VariableFileError as error:
        _write(1, b"failed\0%d %d" % (names.index(error.name), error.code))
    else:
        _write(1, b"".join(text + b"\0" for text in (b"values", *values.values())))


def _write(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:  # nobody reads it any more
        return


if __name__ == "__main__":
    if sys.argv[1] == "launch":
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _launch(int(sys.argv[2]), int(sys.argv[3]))
        sys.exit(1)
    _write_values()

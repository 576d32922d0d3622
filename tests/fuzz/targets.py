"""The targets. Each takes bytes and raises `AssertionError`, or an undocumented error, if an invariant is broken."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gzip
import inspect
import json
import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from plugvisor.api import parameters
from plugvisor.api.parameters import decode_body, decode_query
from plugvisor.engines import launching
from plugvisor.engines.supervisord import program
from plugvisor.engines.supervisord.extension.intents.boot_starts import parse_starts
from plugvisor.engines.supervisord.extension.processes.launch_file import LaunchFileError, parse_launch
from plugvisor.engines.supervisord.process_table import ProcessTable
from plugvisor.errors import InvalidRequest, SupervisorUnavailable
from plugvisor.installer.names import PackageRefused
from plugvisor.installer.unpack import check, unpack
from plugvisor.logs.files import LogFiles
from plugvisor.logs.follow import Follower, Position
from plugvisor.logs.lines import LEVELS, find_moment, parse_line
from plugvisor.logs.tail import Query, cut_line, decode_line, read_backwards, read_tail
from plugvisor.manager.checks.http_check import Exchange
from plugvisor.manager.status import report
from plugvisor.models import manifest as manifest_models
from plugvisor.models.manifest import Manifest
from plugvisor.plugins import manifest, metadata, validation
from plugvisor.plugins.catalog import Plugin
from plugvisor.plugins.manifest import ManifestError, parse_manifest
from plugvisor.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_SECONDS = 5.0
"""What any input may take, instrumented and beside others; the slowest one takes a tenth of it."""
_LONG_WORD = re.compile("[A-Za-z0-9]{10,}")


def fuzz_manifest(data: bytes) -> None:
    """A manifest is valid, and then can be published, or a `ManifestError` repeats none of its words."""
    try:
        parsed = parse_manifest(data)
    except ManifestError as error:
        check_words(str(error), data)
        return
    given = {key: value for key, value in msgspec.to_builtins(parsed).items() if value not in ("", ())}
    assert msgspec.convert(given, Manifest) == parsed
    settings = make_settings()
    argv = launching.build_argv(parsed, Path("/folder"), settings.runner)
    launch = parse_launch(program.render_launch(parsed, Path("/folder"), argv, settings))
    assert (tuple(launch.arguments), launch.environment) == (argv, dict(parsed.environment))
    program.check_section(program.render_section(program._LONGEST_ID, parsed, settings), settings)


def fuzz_launch(data: bytes) -> None:
    """A launch file round-trips, or a `LaunchFileError` repeats none of its words."""
    try:
        launch = parse_launch(data)
    except LaunchFileError as error:
        check_words(str(error), data)
        return
    assert parse_launch(launch.render(sys.executable)) == launch
    for text in [launch.directory, *launch.arguments, *launch.build_environment({"PATH": "/bin"}).values()]:
        text.encode("utf-8", "surrogateescape")


def fuzz_starts(data: bytes) -> None:
    """The file that says which plugins are started at boot round-trips, or is damaged."""
    try:
        starts = parse_starts(data)
    except (ValueError, RecursionError):
        return
    assert all(isinstance(name, str) and isinstance(start, bool) for name, start in starts.items())
    assert parse_starts(json.dumps(starts).encode()) == starts


def fuzz_stream(data: bytes) -> None:
    """A line of the state stream is taken over or cannot be decoded; what was taken over can be shown."""

    async def receive() -> None:
        table = ProcessTable("/nowhere")
        table._receive(b'{"type":"snapshot","seq":1,"processes":[]}\n')
        try:
            for line in data.splitlines(keepends=True):
                with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    table._receive(line)
            with contextlib.suppress(SupervisorUnavailable):
                for name, process in table.read().items():
                    shown = report(Plugin(name, None, problem=""), process, time.monotonic())
                    msgspec.json.encode((shown.detail, shown.status, shown.pid, shown.uptime_seconds))
        finally:
            if table._silence_check is not None:
                table._silence_check.cancel()

    get_loop().run_until_complete(receive())


def fuzz_log_lines(data: bytes) -> None:
    """A line's parts are parts of the line, and can be shown."""
    text = decode_line(data)
    entry = parse_line(text)
    msgspec.json.encode(entry)
    assert text.endswith(entry.message)
    assert entry.level is None or entry.level in LEVELS
    assert all(part in text for part in (entry.file or "").split(":"))  # a colour may stand between them
    assert entry.line is None or str(entry.line) in text
    moment = find_moment(text)
    assert (moment is None) == (entry.timestamp is None)
    assert moment is None or math.isfinite(moment)


def fuzz_log_files(data: bytes) -> None:
    """A log is the same whether it is read backwards, or followed piece by piece across rotations.

    The first byte is the length of a piece; one piece in eight rotates the log.
    """
    size, data = (data[0] % 64 + 1 if data else 1), data[1 : 64 * 1024]
    *lines, rest = data.split(b"\n")
    expected = [show_line(line) for line in lines]
    with tempfile.TemporaryDirectory(dir=find_folder()) as folder:
        log = LogFiles(Path(folder), "x.log")
        path = Path(folder, "x.log")
        path.touch()
        follower = Follower(log)
        followed = [entry.message for entry in follower.begin(10).entries]
        pieces = [data[start : start + size] for start in range(0, len(data), size)][:200]
        pieces[-1:] = [b"".join([data[size * (len(pieces) - 1) :]])] if pieces else []
        rotations = 0
        for piece in pieces:
            if piece[0] % 8 == 0 and rotations < 5:
                for number in range(rotations, -1, -1):
                    old = f"x.log.{number}" if number else "x.log"
                    os.rename(Path(folder, old), Path(folder, f"x.log.{number + 1}"))
                rotations += 1
            with path.open("ab") as file:
                file.write(piece)
            followed += list(read_all(follower))
        resumed = Follower(log)
        if follower.position is not None:
            assert Position.parse(str(follower.position)) == follower.position
            assert resumed.resume(follower.position)
            assert list(read_all(resumed)) == []
        follower.close()
        resumed.close()
        assert followed == expected
        with log.open_all() as files:
            backwards = [parse_line(decode_line(line)).message for line in read_backwards(files)]
            assert backwards[::-1] == ([*expected, show_line(rest)] if rest else expected)
            for query in (Query(lines=3), Query(search="e", level="ERROR"), Query(start=0.0, end=2e9)):
                msgspec.json.encode(read_tail(files, query).entries)


def fuzz_request(data: bytes) -> None:
    """A query, a body and an event's id are valid, or an `InvalidRequest` that can be sent."""
    for kind in QUERIES:
        try:
            query = decode_query(kind, data)
            if isinstance(query, parameters.PeriodQuery):
                assert query.period[0] <= query.period[1]
        except InvalidRequest as error:
            str(error).encode()
    try:
        decode_body(Body, data, '{"plugin_ids": ["a"]}')
    except InvalidRequest as error:
        json.dumps(str(error)).encode()
    text = data.decode("latin-1")
    position = Position.parse(text)
    assert position is None or Position.parse(str(position)) == position


def fuzz_response(data: bytes) -> None:
    """An HTTP response to a check has a verdict, which repeats none of its words, however it arrives.

    The first byte is the length of a piece.
    """

    async def receive() -> None:
        exchange = Exchange(b"")
        length = data[0] + 1 if data else 1
        for start in range(1, len(data), length):
            exchange.data_received(data[start : start + length])
        exchange.connection_lost(None)
        assert exchange.done.done()
        assert exchange.verdict is not None
        check_words(exchange.verdict, data)

    get_loop().run_until_complete(receive())


def fuzz_package(data: bytes) -> None:
    """A package is refused in a sentence, or unpacked into its folder and nowhere else.

    What is no zip is tried as a tar: compressed, and with right checksums, which would hide it from whoever mutates it.
    """
    if not data.startswith(b"PK"):
        data = gzip.compress(b"".join(map(fix_checksum, cut_blocks(data))), compresslevel=1)
    with tempfile.TemporaryDirectory(dir=find_folder()) as outside, tempfile.TemporaryFile() as package:
        folder = os.path.join(outside, "folder")
        os.mkdir(folder)
        package.write(data)
        package.flush()
        outcomes = []
        for read in (check, lambda descriptor: unpack(descriptor, folder)):
            try:
                outcomes.append(repr(read(package.fileno())))
            except PackageRefused as refusal:
                outcomes.append(refusal.message)
        assert outcomes[0] == outcomes[1]
        assert outcomes[0].isprintable()
        assert os.listdir(outside) == ["folder"]
        for link in (path for path in Path(folder).rglob("*") if path.is_symlink()):
            assert outcomes[0].startswith("Summary"), "links are made when all is checked"
            assert link.resolve(strict=True).is_relative_to(os.path.realpath(folder))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "manifest": fuzz_manifest,
    "launch": fuzz_launch,
    "starts": fuzz_starts,
    "stream": fuzz_stream,
    "log_lines": fuzz_log_lines,
    "log_files": fuzz_log_files,
    "request": fuzz_request,
    "response": fuzz_response,
    "package": fuzz_package,
}


def run(name: str, data: bytes) -> None:
    """Run one target with one input; its time is an invariant too."""
    began = time.process_time()
    TARGETS[name](data)
    assert time.process_time() - began < LONGEST_SECONDS, "it took too long"


# -- what the targets share


class Body(msgspec.Struct):
    """A body like that of the bulk operations."""

    plugin_ids: list[str] = []
    all: bool = False


QUERIES = [
    kind
    for kind in vars(parameters).values()
    if inspect.isclass(kind) and issubclass(kind, parameters.Query) and kind is not parameters.Query
]


def check_words(message: str, data: bytes) -> None:
    """Fail if a message repeats a long word of the input that is not of our own vocabulary.

    The name of a check or a dependency is public, and a key is repeated only if it is close to one of ours.
    """
    message = re.sub(r"\[plugin_runtime\.\w+\.[\w-]+\]|(?<=there is no key )`[\w-]+`", "", message)
    words = set(_LONG_WORD.findall(data.decode("utf-8", "replace")))
    repeated = words.intersection(_LONG_WORD.findall(message)) - get_vocabulary()
    assert not repeated, repeated


@functools.cache
def get_vocabulary() -> set[str]:
    """The words in our own sources: names of keys, and of what a message is made of."""
    import tomllib._parser as toml  # noqa: PLC0415 - its messages are repeated

    modules: list[Any] = [manifest, metadata, validation, manifest_models, toml]
    return {word for module in modules for word in _LONG_WORD.findall(inspect.getsource(module))}


@functools.cache
def make_settings() -> Settings:
    """Settings with every default."""
    folder = tempfile.gettempdir()  # nothing is written there, but supervisord's parser checks that it exists
    return Settings.from_env(dict.fromkeys(("PLUGVISOR_RUN_DIR", "PLUGVISOR_PLUGINS_DIR", "PLUGVISOR_LOG_DIR"), folder))


@functools.cache
def get_loop() -> asyncio.AbstractEventLoop:
    """One event loop for all inputs."""
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


def cut_blocks(data: bytes) -> Iterator[bytes]:
    """The blocks of a tar."""
    for start in range(0, len(data), 512):
        yield data[start : start + 512]


def fix_checksum(block: bytes) -> bytes:
    """A block of a tar; if it is a header, with the checksum that it must have."""
    if len(block) < 512 or block[257:262] != b"ustar":
        return block
    total = sum(block[:148]) + sum(block[156:]) + 8 * ord(" ")
    return block[:148] + b"%06o\0 " % total + block[156:]


def show_line(line: bytes) -> str:
    """What is shown of a whole line."""
    return parse_line(decode_line(cut_line(line, len(line)))).message


def find_folder() -> str | None:
    """A folder in memory, if there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def read_all(follower: Follower) -> Iterator[str]:
    """Every line until there is no more."""
    while True:
        news = follower.read()
        assert news is not None
        yield from (entry.message for entry in news.entries)
        if not news.has_more:
            return

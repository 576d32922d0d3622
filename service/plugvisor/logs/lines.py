"""Parsing a line of a log into time, level, place in the source, and message.

The input is untrusted: every pattern is anchored, its repetitions are bounded or possessive, and the time for a
line is linear in its length.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from plugvisor.json_lines import parse_own_line
from plugvisor.models.log import LogEntry

LEVELS = ("TRACE", "DEBUG", "INFO", "NOTICE", "SUCCESS", "WARNING", "ERROR", "CRITICAL", "FATAL")
"""The values of `LogEntry.level`."""
SPELLINGS = {level: level for level in LEVELS} | {
    "WARN": "WARNING", "ERR": "ERROR", "CRIT": "CRITICAL",
    "TRAC": "TRACE", "DEBG": "DEBUG", "ERRO": "ERROR",  # supervisord's own
}  # fmt: skip
"""Every word that is recognised as a level, and the level."""


def parse_line(text: str) -> LogEntry:
    """Recognise what loggers write: Python's logging, loguru, uvicorn, supervisord, syslog and their like.

    If a plugin has several replicas, the message begins with the one that has printed the line.
    """
    replica = _REPLICA.match(text)
    if replica is None:
        return _parse(text)
    entry = _parse(text[replica.end() :])
    return LogEntry(entry.timestamp, entry.level, entry.file, entry.line, replica[0] + entry.message)


def _parse(text: str) -> LogEntry:
    if _JSON_TIME.match(text) and (entry := _parse_json(text)) is not None:
        return entry
    when = _find_time(text)
    if when is None:
        level = _LEVEL_AT_START.match(text)
        return _parse_rest(text, None, level) if level else LogEntry(None, None, None, None, text)
    moment, end = when
    timestamp = moment.isoformat()
    start = _skip_gap(text, end)
    if level := _LEVEL.match(text, start):
        return _parse_rest(text, timestamp, level)
    name = _NAME.match(text, start)
    if name and (level := _LEVEL.match(text, name.end())):
        return _parse_rest(text, timestamp, level, name["inside"] or name["bare"])
    # between other words a level is recognised, but nothing is removed from the line
    level = _LEVEL_AFTER_WORDS.match(text, start)
    return LogEntry(timestamp, _read_level(level) if level else None, None, None, text[start:])


def find_moment(text: str) -> float | None:
    """Return when a line was logged, in seconds since 1970; None if it has no time."""
    replica = _REPLICA.match(text)
    rest = text[replica.end() :] if replica is not None else text
    json_time = _JSON_TIME.match(rest)
    when = _find_time(rest[json_time.end() :] if json_time is not None else rest)
    return when[0].timestamp() if when else None


def _parse_json(text: str) -> LogEntry | None:
    """Parse a line as the service writes it with PLUGVISOR_LOG_FORMAT=json; None if it is something else."""
    fields = parse_own_line(text)
    if fields is None or (when := _find_time(fields["time"])) is None:
        return None
    message = fields["message"] + (f"\n{fields['exception']}" if fields.get("exception") else "")
    return LogEntry(when[0].isoformat(), SPELLINGS.get(fields["level"]), fields["logger"], None, message)


def _parse_rest(text: str, timestamp: str | None, level: re.Match[str], name: str | None = None) -> LogEntry:
    start = _skip_gap(text, level.end())
    number = None
    if place := _PLACE.match(text, start):
        name = f"{place['module']}:{place['function']}" if place["module"] else place["file"]
        number = int(place["line"])
        start = _skip_gap(text, place.end())
    elif logger := level.groupdict().get("logger"):
        name = logger
    return LogEntry(timestamp, _read_level(level), name, number, text[start:])


def _read_level(level: re.Match[str]) -> str:
    return SPELLINGS[(level["inside_level"] or level["bare_level"]).upper()]


def _skip_gap(text: str, position: int) -> int:
    """Return where the text continues after blanks and one separator; a colour that begins there is kept."""
    gap = _GAP.match(text, position)
    end = gap.end() if gap else position
    return max(text.rfind(separator, position, end) for separator in " \t|:-") + 1 or position


# -- when


def _find_time(text: str) -> tuple[datetime, int] | None:
    """Return the time at the beginning of a line, and the offset of its end."""
    try:
        if match := _TIME.match(text):
            moment = datetime.fromisoformat(f"{match['date'].replace('/', '-')}T{match['time']}{match['offset'] or ''}")
        elif match := _SYSLOG_TIME.match(text):
            moment = _guess_year(f"{match['month']} {match['day']} {match['time']}")
        else:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=_find_zone(moment.replace(second=0, microsecond=0)))
        moment.timestamp()
    except (ValueError, OverflowError):  # the 31st of February; the year 0 or 9999
        return None
    return moment, match.end()


@lru_cache(maxsize=256)
def _find_zone(minute: datetime) -> tzinfo | None:
    """Return this machine's time zone at a minute; cached, as the look-up takes longer than the rest of the parsing."""
    return minute.astimezone().tzinfo


def _guess_year(text: str) -> datetime:
    """Complete a syslog time, which has no year: the latest such day that is at most one day ahead."""
    now = datetime.now(UTC).astimezone().replace(tzinfo=None)
    moment = datetime.strptime(f"{now.year} {text}", "%Y %b %d %H:%M:%S")  # noqa: DTZ007 - the caller finds the zone
    return moment if moment <= now + timedelta(days=1) else moment.replace(year=now.year - 1)


# -- what loggers write

_COLOUR = r"\x1b\[[0-9;]{0,16}m"
_BLANKS = rf"(?:[ \t]|{_COLOUR}){{0,64}}+"
_COLOURS = rf"(?:{_COLOUR}){{0,4}}+"
_END = r"(?=[ \t\x1b]|$)"

_JSON_TIME = re.compile(r'\{"time": "')
_REPLICA = re.compile(r"\[[0-9]{1,6}@[\w.-]{1,64}\] ", re.ASCII)  # as the engine `swarm` writes it
_TIME = re.compile(
    rf"""{_BLANKS}
    (?:<[0-9]{{1,3}}>(?:1[ ])?)?+                                               # syslog's priority
    [\[(]?+
    (?P<date>[0-9]{{4}}[-/][0-9]{{2}}[-/][0-9]{{2}}) [T ]
    (?P<time>[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:[.,][0-9]{{1,9}}+)?+) (?![0-9:])
    (?:[ ]?(?P<offset>Z|[+-][01][0-9]:?[0-5][0-9])(?![A-Za-z0-9]))?
    [\])]?+""",
    re.VERBOSE,
)
_SYSLOG_TIME = re.compile(
    rf"""{_BLANKS}
    (?:<[0-9]{{1,3}}>)?+
    (?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[ ]{{1,2}}+
    (?P<day>[0-9]{{1,2}})[ ]
    (?P<time>[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}})(?![0-9:])""",
    re.VERBOSE,
)
# The separator is optional without `?+`: Python 3.11 before 3.11.4 takes it even if the lookahead fails.
_GAP = re.compile(rf"{_BLANKS}(?:[-|:]{_END})?{_BLANKS}")

_WORDS = "|".join(sorted(SPELLINGS, key=len, reverse=True))
# In brackets in any case; otherwise in capitals only, as "error" can begin a sentence.
_INSIDE = rf"\[{_BLANKS}(?P<inside_level>(?i:{_WORDS})){_BLANKS}\]"
_BARE = rf"(?P<bare_level>{_WORDS})(?![\w.-])"
_LEVEL = re.compile(rf"{_BLANKS}(?:{_INSIDE}|{_BARE}){_COLOURS}:?+")
_LEVEL_AT_START = re.compile(
    # with the logger's name in logging's default format: WARNING:root:message
    rf"{_BLANKS}(?:{_INSIDE}{_COLOURS}:?+|{_BARE}{_COLOURS}(?::(?:(?P<logger>[\w.-]{{1,100}}+):)?|(?={_BLANKS}[|-]{_END})))"
)
_LEVEL_AFTER_WORDS = re.compile(rf"(?:[^\s|]{{1,100}}+{_BLANKS}(?:[-|:]{_END})?{_BLANKS}){{1,2}}(?:{_INSIDE}|{_BARE})")
_NAME = re.compile(
    rf"""(?:[\[(](?![0-9]+[\])])(?P<inside>[\w.:/-]{{1,100}}+)[\])]          # not a process id
    |   (?P<bare>[\w./-]{{1,100}}+)(?::|{_BLANKS}[|-]){_END}) {_BLANKS} (?:[-|:]{_END})? {_BLANKS}""",
    re.VERBOSE,
)
_PLACE = re.compile(
    rf"""{_COLOURS}[\[(]?+(?![0-9])
    (?: (?P<module>[^\s:\x1b]{{1,200}}+) {_COLOURS} : {_COLOURS} (?P<function>[^\s:\x1b]{{1,200}}+) {_COLOURS}
    |   (?P<file>[^\s:\x1b]{{1,200}}\.(?:pyx?|[cm]?[jt]sx?|go|rs|java|kt|cc?|cpp|hh?|hpp|rb|php|cs|swift|lua|exs?)) )
    : {_COLOURS} (?P<line>[0-9]{{1,7}}+) {_COLOURS}
    (?: [\])] {_COLOURS} :?+ | : | {_BLANKS} [|-] ) {_END}""",
    re.VERBOSE,
)

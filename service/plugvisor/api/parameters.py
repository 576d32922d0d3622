"""Query parameters and request bodies: declared as structs, checked by msgspec. An empty parameter counts as absent."""

import math
import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from starlette.datastructures import QueryParams

from plugvisor.errors import InvalidRequest
from plugvisor.logs.tail import DEFAULT_LINES, MOST_LINES
from plugvisor.metrics.history import KEPT_SAMPLES
from plugvisor.models.stored.journal import KINDS, Kind

LONGEST_WAIT_SECONDS = 300
LONGEST_SEARCH = 200
"""In characters."""
DEFAULT_SAMPLES = 100
DEFAULT_ENTRIES = 100
MOST_ENTRIES = 1000
_LONGEST_KEPT_QUERY = 200
_MEMBER = re.compile(r"at `\$\.([a-z_]+)|required field `([a-z_]+)`")
"""Which member of a body msgspec finds invalid, or misses."""


class Query(Struct, frozen=True, kw_only=True):
    """The query parameters of a route; those that it does not know are ignored."""


class PluginQuery(Query, frozen=True, kw_only=True):
    """Which plugins."""

    plugin_id: Annotated[str, Meta(description="one plugin; empty or absent: all")] = ""


class WaitQuery(Query, frozen=True, kw_only=True):
    """How long to wait."""

    wait: (
        Annotated[float, Meta(ge=0, le=LONGEST_WAIT_SECONDS, description="seconds to wait for the final state")]
        | UnsetType
    ) = UNSET

    @property
    def wait_seconds(self) -> float | None:
        """None if the client leaves it to the operation."""
        return None if self.wait is UNSET else self.wait


class StopQuery(WaitQuery, frozen=True, kw_only=True):
    """How long to wait, and what to stop too."""

    dependents: Annotated[bool, Meta(description="true: first stop the plugins that require it")] = False


class PeriodQuery(Query, frozen=True, kw_only=True):
    """From when until when. A time without an offset is the server's local time."""

    start_time: Annotated[str, Meta(description="none before this: ISO 8601")] = ""
    end_time: Annotated[str, Meta(description="none after this: ISO 8601")] = ""

    @property
    def period(self) -> tuple[float, float]:
        """In seconds since 1970, infinite if not given; raises `InvalidRequest`."""
        start = parse_time("start_time", self.start_time, -math.inf)
        end = parse_time("end_time", self.end_time, math.inf)
        if start > end:
            raise InvalidRequest("`start_time` must not be after `end_time`", "start_time")
        return start, end


class HistoryQuery(PeriodQuery, frozen=True, kw_only=True):
    """Which samples of a plugin's usage."""

    limit: Annotated[int, Meta(ge=1, le=KEPT_SAMPLES, description="at most this many, the newest")] = DEFAULT_SAMPLES


Lines = Annotated[int, Meta(ge=1, le=MOST_LINES, description="how many of the newest")]


class LogQuery(PeriodQuery, frozen=True, kw_only=True):
    """Which lines of a log."""

    lines: Lines = DEFAULT_LINES
    level: Annotated[str, Meta(description="only of this level")] = ""
    search: Annotated[str, Meta(max_length=LONGEST_SEARCH, description="only with this in it")] = ""


class LogStreamQuery(Query, frozen=True, kw_only=True):
    """Where a log's stream begins."""

    lines: Lines = DEFAULT_LINES


class EntriesQuery(Query, frozen=True, kw_only=True):
    """Which entries of the journal."""

    plugin_id: Annotated[str, Meta(description="only of this plugin")] = ""
    kind: Annotated[str, Meta(description=f"only of these kinds, comma-separated: {', '.join(KINDS)}")] = ""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Empty: all. Raises `InvalidRequest`."""
        kinds = dict.fromkeys(filter(None, (name.strip() for name in self.kind.split(","))))
        if not all(name in KINDS for name in kinds):
            raise InvalidRequest(f"`kind` must be one or more of {', '.join(KINDS)}, with commas between", "kind")
        return tuple(kinds)  # type: ignore[arg-type] # they are among them


class JournalQuery(EntriesQuery, frozen=True, kw_only=True):
    """Which page of the journal."""

    since: Annotated[str, Meta(description="none before this: ISO 8601, or seconds since 1970")] = ""
    until: Annotated[str, Meta(description="none after this: ISO 8601, or seconds since 1970")] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST_ENTRIES, description="at most this many, the newest")] = DEFAULT_ENTRIES
    after: Annotated[str, Meta(description="only older ones: the `after` of the page before")] = ""

    @property
    def period(self) -> tuple[float, float]:
        """In seconds since 1970, infinite if not given; raises `InvalidRequest`."""
        since = _parse_moment("since", self.since, -math.inf)
        until = _parse_moment("until", self.until, math.inf)
        if since > until:
            raise InvalidRequest("`since` must not be after `until`", "since")
        return since, until

    @property
    def after_id(self) -> int | None:
        """The id of the last entry of the page before; raises `InvalidRequest`."""
        if self.after and not re.fullmatch("[0-9]{1,18}", self.after, re.ASCII):
            raise InvalidRequest("`after` must be the `after` of an answer before", "after")
        return int(self.after) if self.after else None


Q = TypeVar("Q", bound=Struct)


def decode_query(kind: type[Q], query_string: bytes) -> Q:
    """The parameters of a query string; raises `InvalidRequest`."""
    if len(query_string) <= _LONGEST_KEPT_QUERY:
        decoded: Q = _decode_kept(kind, query_string)
        return decoded
    return _decode(kind, query_string)


def decode_body(kind: type[Q], body: bytes, example: str) -> Q:
    """A JSON body; an empty one is `{}`. Raises `InvalidRequest`, which shows the example and names the member."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        found = _MEMBER.search(str(error)) if isinstance(error, msgspec.ValidationError) else None
        parameter = found and (found[1] or found[2])
        if parameter and "matching regex" in str(error):
            raise InvalidRequest(f"`{parameter}` {_find_rule(kind, parameter)}", parameter) from None
        or_empty = "" if any(field.required for field in msgspec.structs.fields(kind)) else ", or empty"
        raise InvalidRequest(f"the body must be JSON like {example}{or_empty}: {error}", parameter) from None


def _find_rule(kind: type[Struct], name: str) -> str:
    """The words for the pattern of a member, or of its items: the `rule` of its declaration."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    declared: Any = next(field.type for field in info.fields if field.encode_name == name)
    while not (extra := getattr(declared, "extra", None)) or "rule" not in extra:
        declared = declared.type if isinstance(declared, msgspec.inspect.Metadata) else declared.item_type
    return str(extra["rule"])


def _decode(kind: type[Q], query_string: bytes) -> Q:
    given = QueryParams(query_string)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        texts = given.getlist(field.name)
        if len(texts) > 1:
            raise InvalidRequest(f"`{field.name}` can be given once", field.name)
        if texts and (text := texts[0]):
            try:
                value = msgspec.convert(text, field.type, strict=False)
            except msgspec.ValidationError:
                value = None
            if value is None or (
                isinstance(value, int) and str(value).lower() != text
            ):  # msgspec takes 1e3 for a whole number
                raise InvalidRequest(f"`{field.name}` must be {_describe(field.type)}", field.name)
            values[field.name] = value
    return kind(**values)


@lru_cache(maxsize=4096)
def _decode_kept(kind: type[Any], query_string: bytes) -> Any:
    """Front ends send the same few queries again and again."""
    return _decode(kind, query_string)


def _describe(kind: Any) -> str:
    """A parameter's type in words."""
    match msgspec.json.schema(kind):
        case {"type": "integer", "minimum": least, "maximum": most}:
            return f"a whole number from {least} to {most}"
        case {"type": "number", "minimum": least, "maximum": most}:
            return f"a number from {least} to {most}"
        case {"type": "boolean"}:
            return "true or false"
        case {"type": "string", "maxLength": most}:
            return f"text of at most {most} characters"
        case schema:
            raise TypeError(f"no words for {schema}")


def _parse_moment(name: str, text: str, default: float) -> float:
    """As `parse_time`; seconds since 1970 will do, too."""
    if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", text, re.ASCII):
        return float(text)
    return parse_time(name, text, default)


def parse_time(name: str, text: str, default: float) -> float:
    """The seconds since 1970 of a time, which is local if it has no offset; raises `InvalidRequest`."""
    if not text:
        return default
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):  # the latter two: a year that the clock does not know
        raise InvalidRequest(
            f"`{name}` must be a time like 2026-11-22T15:02:57+00:00, and in a URL + is written %2B", name
        ) from None

"""Versions and ranges of them by PEP 440: whether a plugin's version fits those that depend on it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    from plugvisor.models.manifest import Dependency

_LONGEST_TEXT = 1000


class Verdict(NamedTuple):
    """Why the version of a dependency cannot be used, or else what there is to say about it; both may be empty."""

    conflict: str = ""
    note: str = ""


class _Ranges(NamedTuple):
    """The keys of a `[[plugin.dependency]]` that decide, for a cache."""

    id: str
    recommended: str
    supported: str
    untested: str
    conflicts: tuple[str, ...]


def judge_version(dependency: Dependency, version: str) -> Verdict:
    """Compare the version of a plugin with the ranges of a `[[plugin.dependency]]` on it.

    A range that cannot be read counts as absent.
    """
    key = _Ranges(
        dependency.get("id", ""),
        dependency.get("recommended", ""),
        dependency.get("supported", ""),
        dependency.get("untested", ""),
        dependency.get("conflicts", ()),
    )
    return _judge(key, version)


def is_range(text: str) -> bool:
    """Whether a text is a range of versions."""
    return _parse_range(text) is not None


def is_in_range(version: str, text: str) -> bool:
    """Whether a version, which may be a pre-release, is in a range; neither is if it cannot be read."""
    parsed, versions = _parse_version(version), _parse_range(text)
    return parsed is not None and versions is not None and versions.contains(parsed, prereleases=True)


# packaging takes 20 µs for a range, and a catalog has the same ones again and again.
@lru_cache(8192)
def _judge(ranges: _Ranges, version: str) -> Verdict:
    texts = {"recommended": ranges.recommended, "supported": ranges.supported, "untested": ranges.untested}
    known = {key: versions for key, text in texts.items() if (versions := _parse_range(text)) is not None}
    excluded = [versions for text in ranges.conflicts if (versions := _parse_range(text)) is not None]
    if not known and not excluded:
        return Verdict()
    parsed = _parse_version(version)
    if parsed is None:
        return Verdict(note=f"the version of {ranges.id!r} cannot be compared: it is not one by PEP 440")
    # an installed pre-release is a version like any other
    fitting = {key for key, versions in known.items() if versions.contains(parsed, prereleases=True)}
    which = f"version {version} of {ranges.id!r}"
    if any(versions.contains(parsed, prereleases=True) for versions in excluded):
        return Verdict(conflict=f"it conflicts with {which}")
    if "supported" in known and fitting.isdisjoint(("supported", "untested")):
        return Verdict(conflict=f"it does not support {which}")
    if "untested" in fitting:
        return Verdict(note=f"{which} is untested")
    if "recommended" in known and "recommended" not in fitting:
        return Verdict(note=f"{which} is not recommended")
    return Verdict()


def _parse_version(text: str) -> Version | None:
    from packaging.version import Version  # noqa: PLC0415 - a moment of each start, for the catalogs that need it

    try:
        return Version(text) if len(text) <= _LONGEST_TEXT else None
    except ValueError:
        return None


@lru_cache(1024)
def _parse_range(text: str) -> SpecifierSet | None:
    if not text.strip():
        return None
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - as above

    try:
        return SpecifierSet(text) if len(text) <= _LONGEST_TEXT else None
    except ValueError:
        return None

"""`installed.json`: what is installed of a plugin. It belongs to the plugins' user: it is input like any other."""

from typing import Annotated

from msgspec import Meta, Struct

Name = Annotated[str, Meta(max_length=200)]
VersionFolder = Annotated[str, Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,99}$")]
"""`<version>-<the first 12 digits of the package's SHA-256>`."""
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class VersionRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a version has come from."""

    version: Name
    """As its manifest has it; may be empty."""
    sha256: Sha256
    """Of the package."""
    source: Name
    """The name of the package's file, as the client has given it."""
    installed_at: float
    installed_by: Name
    environment: bool = False
    """Whether it has an environment of its own."""
    python: Name = ""
    """The version of the environment's interpreter."""


class Pending(Struct, frozen=True, kw_only=True):
    """A version that was made current, and has not shown yet that it works."""

    version: VersionFolder
    previous: VersionFolder | None = None
    """That was current, and is again after a crash; None for a first installation."""


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole file."""

    id: Name
    current: VersionFolder | None = None
    """None: it was uninstalled, and its data was kept."""
    previous: VersionFolder | None = None
    """To which a rollback leads."""
    versions: dict[VersionFolder, VersionRecord] = {}
    """Those that are whole; any other folder was left by a crash."""
    pending: Pending | None = None

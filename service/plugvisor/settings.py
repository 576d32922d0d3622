"""Settings, read from the environment variables in one table."""

from __future__ import annotations

import os
import re
import shlex
import string
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plugvisor.errors import ConfigurationError
from plugvisor.users import Users, find_users

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Variable:
    """An environment variable, as the documentation and `--help` show it."""

    name: str
    default: str
    meaning: str


VARIABLES = (
    Variable("PLUGVISOR_HOST", "127.0.0.1", "address that HTTP listens on, or `unix:///path` for a Unix socket"),
    Variable("PLUGVISOR_PORT", "48916", "port that HTTP listens on"),
    Variable("PLUGVISOR_URL", "http://<host>:<port>", "address that clients use, shown at the start"),
    Variable(
        "PLUGVISOR_HOSTS", "none", "comma-separated hosts that clients can name: name[:port], *.domain, or * for any"
    ),
    Variable("PLUGVISOR_PLUGINS_DIR", "plugins", "folder with one folder per plugin"),
    Variable("PLUGVISOR_RUN_DIR", "a per-user runtime folder", "sockets, pid file and generated programs"),
    Variable("PLUGVISOR_LOG_DIR", "<run_dir>/log", "one log file per plugin, rotated"),
    Variable("PLUGVISOR_ADMIN_CODE", "random", "code that changes require"),
    Variable("PLUGVISOR_ADMIN_CODE_FILE", "none", "file that contains the admin code"),
    Variable("PLUGVISOR_CORS_ORIGINS", "none", "comma-separated origins of front ends elsewhere"),
    Variable("PLUGVISOR_METRICS_AUTH", "admin", "who can read `GET /metrics`: `admin`, or `none` for everyone"),
    Variable("PLUGVISOR_PAGE_DIR", "the built-in page", "folder of another front end, served at `/ui/`"),
    Variable("PLUGVISOR_RUNNER", "built in", "command that runs an `entry`; can use {entry}, {id} and {dir}"),
    Variable("PLUGVISOR_SUPERVISOR_URL", "unix://<run_dir>/supervisor.sock", "where supervisord listens"),
    Variable("PLUGVISOR_SERVICE_USER", "none", "as root: the user that runs the service"),
    Variable("PLUGVISOR_PLUGIN_USER", "none", "as root: the user that runs the plugins"),
    Variable("PLUGVISOR_LOG_TO_STDOUT", "false", "also write all logs to standard output"),
)

# The run and log folders appear in supervisord's configuration, where white space separates, `%` is
# expanded (twice in log file names), `;` and `#` begin a comment, and an include is a glob. The file is
# UTF-8; bytes that are not are surrogates here.
_UNSAFE_IN_CONFIGURATION = re.compile(r"""[\s%;#*?\[\]'"\\,\x00-\x1f\x7f\ud800-\udfff]""")

# supervisord binds `<socket>.<pid>` first; sun_path holds 104 bytes on macOS, 108 on Linux.
_LONGEST_SOCKET_PATH_BYTES = 103 - len(".4194304")
_LONGEST_OWN_SOCKET_PATH_BYTES = 103


@dataclass(frozen=True)
class Settings:
    """The validated settings; every path is absolute.

    The admin code is not part of them, so that they can be logged (see `admin_code.py`).
    """

    host: str
    port: int
    plugins_dir: Path
    run_dir: Path
    log_dir: Path
    cors_origins: tuple[str, ...]
    metrics_need_code: bool
    """Whether `GET /metrics` needs the admin code."""
    runner: tuple[str, ...] | None
    """The words of `PLUGVISOR_RUNNER`, with placeholders; None for the built-in runner."""
    supervisor_url: str = field(repr=False)
    """It can contain a password."""
    page_dir: Path | None = None
    """Folder of another front end; None for the built-in page."""
    hosts: tuple[str, ...] = ()
    """The names of `PLUGVISOR_HOSTS`."""
    users: Users | None = None
    """The users that the service and the plugins run as; None if everything runs as one user."""
    log_to_stdout: bool = False
    public_url: str | None = None
    """The address that clients use, without a path; None if it is that of `url`."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and validate the settings; an empty variable counts as not set.

        Raises:
            ConfigurationError: its message names the variable, what is wrong with it, and what is valid.
        """

        def get(name: str, default: str) -> str:
            return environ.get(name) or default

        page_dir = get("PLUGVISOR_PAGE_DIR", "")
        users = _read_users(get("PLUGVISOR_SERVICE_USER", ""), get("PLUGVISOR_PLUGIN_USER", ""))
        is_root = os.geteuid() == 0
        default_run_dir = _ROOTS_RUN_DIR if users and is_root else _default_run_dir(environ)
        run_dir = _read_folder("PLUGVISOR_RUN_DIR", get("PLUGVISOR_RUN_DIR", str(default_run_dir)))
        default_log_dir = _ROOTS_LOG_DIR if users and is_root else run_dir / "log"
        return cls(
            host=_read_host(get("PLUGVISOR_HOST", "127.0.0.1")),
            port=_read_port(get("PLUGVISOR_PORT", "48916")),
            plugins_dir=_read_path("PLUGVISOR_PLUGINS_DIR", get("PLUGVISOR_PLUGINS_DIR", "plugins")),
            run_dir=run_dir,
            log_dir=_read_folder("PLUGVISOR_LOG_DIR", get("PLUGVISOR_LOG_DIR", str(default_log_dir))),
            cors_origins=_read_origins(environ.get("PLUGVISOR_CORS_ORIGINS", "")),
            hosts=_read_hosts(environ.get("PLUGVISOR_HOSTS", "")),
            page_dir=_read_path("PLUGVISOR_PAGE_DIR", page_dir) if page_dir else None,
            metrics_need_code=_read_metrics_auth(get("PLUGVISOR_METRICS_AUTH", "admin")),
            runner=_read_runner(environ.get("PLUGVISOR_RUNNER", "")),
            supervisor_url=_read_supervisor_url(get("PLUGVISOR_SUPERVISOR_URL", f"unix://{run_dir}/supervisor.sock")),
            # without root there are no users to switch to, but the service must know them in a run folder of root's
            users=users if is_root or _is_roots(run_dir) else None,
            log_to_stdout=_read_boolean("PLUGVISOR_LOG_TO_STDOUT", get("PLUGVISOR_LOG_TO_STDOUT", "false")),
            public_url=_read_public_url(get("PLUGVISOR_URL", "")),
        )

    def to_env(self) -> dict[str, str]:
        """Return variables from which another process reads the same settings, in any working directory."""
        return {
            "PLUGVISOR_HOST": self.host,
            "PLUGVISOR_PORT": str(self.port),
            "PLUGVISOR_HOSTS": ",".join(self.hosts),
            "PLUGVISOR_PLUGINS_DIR": str(self.plugins_dir),
            "PLUGVISOR_RUN_DIR": str(self.run_dir),
            "PLUGVISOR_LOG_DIR": str(self.log_dir),
            "PLUGVISOR_CORS_ORIGINS": ",".join(self.cors_origins),
            "PLUGVISOR_PAGE_DIR": str(self.page_dir or ""),
            "PLUGVISOR_METRICS_AUTH": "admin" if self.metrics_need_code else "none",
            "PLUGVISOR_RUNNER": shlex.join(self.runner or ()),
            "PLUGVISOR_SUPERVISOR_URL": self.supervisor_url,
            "PLUGVISOR_SERVICE_USER": self.users.service.name if self.users else "",
            "PLUGVISOR_PLUGIN_USER": self.users.plugins.name if self.users else "",
            "PLUGVISOR_LOG_TO_STDOUT": str(self.log_to_stdout).lower(),
            "PLUGVISOR_URL": self.public_url or "",
        }

    @property
    def socket_path(self) -> Path | None:
        """The Unix socket that HTTP listens on; None for a TCP port."""
        return Path(self.host.removeprefix(_UNIX)) if self.host.startswith(_UNIX) else None

    @property
    def url(self) -> str:
        """The service's address on this machine; loopback if it listens on all addresses."""
        if self.socket_path is not None:
            return self.host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def answers_to_any_name(self) -> bool:
        """Whether requests can name any host because the service listens on all addresses and no names are set."""
        return self.host in ("0.0.0.0", "::") and not self.hosts  # noqa: S104 - compared, not bound

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Patterns of the hosts that requests can name, besides those of loopback."""
        if self.answers_to_any_name or self.host.startswith("unix://"):
            return ("*",)
        names = [self.host, urlsplit(self.public_url or "").hostname or ""]
        return (*self.hosts, *(f"[{name}]" if ":" in name else name for name in names if name))


_UNIX = "unix://"
_ROOTS_RUN_DIR = Path("/run/plugvisor")
_ROOTS_LOG_DIR = Path("/var/log/plugvisor")


def _default_run_dir(environ: Mapping[str, str]) -> Path:
    """Return a folder of this user for sockets, gone after the session or at the next boot."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "plugvisor"
    return Path(tempfile.gettempdir()) / f"plugvisor-{os.getuid()}"


def _read_path(name: str, value: str) -> Path:
    try:
        # abspath, not resolve: an operator who names a symbolic link expects to see that name again
        return Path(os.path.abspath(Path(value).expanduser()))
    except RuntimeError as error:
        raise ConfigurationError(
            f"cannot use {name} {value!r}: there is no user of that name with a home folder; write the whole path"
        ) from error


def _read_folder(name: str, value: str) -> Path:
    path = str(_read_path(name, value))
    unsafe = _UNSAFE_IN_CONFIGURATION.search(path)
    if unsafe:
        raise ConfigurationError(
            f"cannot use {name} {path!r}: supervisord's configuration does not allow {unsafe.group()!r} in a path; "
            "choose a folder without blanks, quotes or any of % ; # * ? [ ] \\ ,"
        )
    return Path(path)


def _is_roots(path: Path) -> bool:
    try:
        return path.stat().st_uid == 0
    except OSError:
        return False


def _read_users(service: str, plugins: str) -> Users | None:
    if not service and not plugins:
        return None
    if not service or not plugins:
        raise ConfigurationError(
            "cannot use one of PLUGVISOR_SERVICE_USER and PLUGVISOR_PLUGIN_USER without the other: set both or neither"
        )
    return find_users(service, plugins)


def _read_boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise ConfigurationError(f"cannot use {name} {value!r}: it must be true or false")
    return value == "true"


def _read_host(value: str) -> str:
    if not value.startswith(_UNIX):
        return value
    path = value.removeprefix(_UNIX)
    if not path.startswith("/") or path.endswith("/"):
        raise ConfigurationError(
            f"cannot use PLUGVISOR_HOST {value!r}: after unix:// there must be the absolute path of a socket"
        )
    unsafe = _UNSAFE_IN_CONFIGURATION.search(path)
    if unsafe:
        raise ConfigurationError(
            f"cannot use PLUGVISOR_HOST {value!r}: the path of a socket must not contain {unsafe.group()!r}"
        )
    if len(os.fsencode(path)) > _LONGEST_OWN_SOCKET_PATH_BYTES:
        raise ConfigurationError(
            f"cannot use PLUGVISOR_HOST {value!r}: a Unix socket's path can have at most "
            f"{_LONGEST_OWN_SOCKET_PATH_BYTES} bytes"
        )
    return value


def _read_port(value: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise ConfigurationError(f"cannot use PLUGVISOR_PORT {value!r}: it must be a number from 1 to 65535")
    return int(value)


def _read_hosts(value: str) -> tuple[str, ...]:
    hosts = tuple(host.strip().lower() for host in value.split(",") if host.strip())
    for host in hosts:
        if not _HOST_PATTERN.fullmatch(host):
            raise ConfigurationError(
                f"cannot use PLUGVISOR_HOSTS: {host!r} is not a host; write it like plugvisor.example.com, "
                "plugvisor.example.com:8443, *.example.com, [2001:db8::1] or *"
            )
    return hosts


_HOST_PATTERN = re.compile(r"\*|((\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def _read_origins(value: str) -> tuple[str, ...]:
    origins = tuple(origin.strip().rstrip("/") for origin in value.split(",") if origin.strip())
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"cannot use PLUGVISOR_CORS_ORIGINS: {origin!r} is not an origin; write it like http://localhost:5173"
            )
    return origins


# Browsers send an origin in lower case, and it is compared as it is.
_ORIGIN = re.compile(r"https?://([^\s/?#@:\[\]A-Z]+|\[[0-9a-f:.]+\])(:[0-9]+)?")


def _read_public_url(value: str) -> str | None:
    if not value:
        return None
    url = value.removesuffix("/").lower()
    try:
        urlsplit(url).port  # noqa: B018 - raises if it is too large; 0 is a container's, published on any port
        is_usable = bool(_ORIGIN.fullmatch(url)) and url.isprintable()
    except ValueError:  # an invalid IPv6 address in brackets, or an invalid port
        is_usable = False
    if not is_usable:
        # the value is not repeated: it can contain a password
        raise ConfigurationError(
            "cannot use PLUGVISOR_URL: it must look like http://localhost:8080 or https://plugvisor.example.com, "
            "without a path, because the page is served at the root of its host"
        )
    return url


def _read_metrics_auth(value: str) -> bool:
    if value not in ("admin", "none"):
        raise ConfigurationError(f"cannot use PLUGVISOR_METRICS_AUTH {value!r}: it must be `admin` or `none`")
    return value == "admin"


def _read_runner(value: str) -> tuple[str, ...] | None:
    if not value:
        return None
    try:
        words = tuple(shlex.split(value))
        placeholders = [rest for word in words for _, *rest in string.Formatter().parse(word) if rest[0] is not None]
    except ValueError as error:
        raise ConfigurationError(f"cannot use PLUGVISOR_RUNNER {value!r}: {error}") from error
    plain = (["entry", "", None], ["id", "", None], ["dir", "", None])  # without a format or conversion
    if plain[0] not in placeholders or not all(placeholder in plain for placeholder in placeholders):
        raise ConfigurationError(
            f"cannot use PLUGVISOR_RUNNER {value!r}: it must be a command with {{entry}} in it, "
            "and can have {id} and {dir}, as in: python -m myhost.run {entry}"
        )
    return words


def _read_supervisor_url(value: str) -> str:
    if value.startswith("unix://"):
        path = value.removeprefix("unix://")
        if not path.startswith("/"):
            raise ConfigurationError(
                f"cannot use PLUGVISOR_SUPERVISOR_URL {value!r}: after unix:// there must be an absolute path"
            )
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH_BYTES:
            raise ConfigurationError(
                f"cannot use the socket {path!r}: a Unix socket's path can have at most "
                f"{_LONGEST_SOCKET_PATH_BYTES} bytes; choose a shorter PLUGVISOR_RUN_DIR"
            )
        return value
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # an invalid IPv6 address in brackets, or an invalid port
        is_usable = False
    if not is_usable:
        # the value is not repeated: it can contain a password
        raise ConfigurationError(
            "cannot use PLUGVISOR_SUPERVISOR_URL: it must look like unix:///path or http://user:password@host:9001"
        )
    return value

"""Settings, read from the environment variables of `variables.py`."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plugvisor.setting_folders import (
    ROOTS_LOG_DIR,
    ROOTS_STATE_DIR,
    find_default_state_dir,
    find_run_dir,
    is_roots,
    read_folder,
    read_path,
)
from plugvisor.setting_values import (
    UNIX,
    make_url,
    read_boolean,
    read_choice,
    read_count,
    read_host,
    read_hosts,
    read_metrics_auth,
    read_origins,
    read_port,
    read_public_url,
    read_read_auth,
    read_runner,
    read_supervisor_url,
    read_users,
    read_webhooks,
)
from plugvisor.swarm_settings import SwarmSettings, read_engine, read_swarm_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.users import Users


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
    state_dir: Path
    """Folder of the store."""
    cors_origins: tuple[str, ...]
    metrics_need_token: bool
    """Whether `GET /metrics` needs a token."""
    runner: tuple[str, ...] | None
    """The words of `PLUGVISOR_RUNNER`, with placeholders; None for the built-in runner."""
    supervisor_url: str = field(repr=False)
    """It can contain a password."""
    install_dir: Path | None = None
    """Folder that plugins are installed in; None for the plugins folder, if it is writable."""
    package_mb: int = 200
    """Of the largest package."""
    build_seconds: int = 600
    page_dir: Path | None = None
    """Folder of another front end; None for the built-in page."""
    hosts: tuple[str, ...] = ()
    """The names of `PLUGVISOR_HOSTS`."""
    users: Users | None = None
    """The users that the service and the plugins run as; None if everything runs as one user."""
    log_to_stdout: bool = False
    public_url: str | None = None
    """The address that clients use, without a path; None if it is that of `url`."""
    remember: bool = True
    """Whether starts and stops are remembered as intents."""
    journal_days: int = 30
    journal_mb: int = 100
    reads_need_token: bool = False
    """Whether what is public otherwise needs a token."""
    webhooks: tuple[str, ...] = field(default=(), repr=False)
    """URLs; they can contain a password."""
    webhook_secret_file: Path | None = None
    engine: str = "supervisord"
    """The engine: `supervisord` or `swarm`."""
    dialect: str = ""
    """Of which plugin host's front end the API speaks the language: `neko`, or none."""
    log_format: str = "text"
    """Of the service's own log and of standard output: `text` or `json`."""
    dev_folder: Path | None = None
    """The folder of the plugin that `plugvisor dev` runs; it is watched whatever its manifest says.
    No variable of a person's: the command passes it to the service."""
    swarm: SwarmSettings = field(default_factory=SwarmSettings)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and validate the settings; an empty variable counts as not set.

        Raises:
            ConfigurationError: its message names the variable, what is wrong with it, and what is valid.
        """

        def get(name: str, default: str) -> str:
            return environ.get(name) or default

        engine = read_engine(get("PLUGVISOR_ENGINE", "supervisord"))
        page_dir = get("PLUGVISOR_PAGE_DIR", "")
        install_dir = get("PLUGVISOR_INSTALL_DIR", "")
        users = read_users(get("PLUGVISOR_SERVICE_USER", ""), get("PLUGVISOR_PLUGIN_USER", ""))
        is_root = os.geteuid() == 0
        run_dir = find_run_dir(environ)
        default_state_dir = ROOTS_STATE_DIR if users and is_root else find_default_state_dir(environ, run_dir)
        secret_file = get("PLUGVISOR_WEBHOOK_SECRET_FILE", "")
        default_log_dir = ROOTS_LOG_DIR if users and is_root else run_dir / "log"
        return cls(
            host=read_host(get("PLUGVISOR_HOST", "127.0.0.1")),
            port=read_port(get("PLUGVISOR_PORT", "48916")),
            plugins_dir=read_path("PLUGVISOR_PLUGINS_DIR", get("PLUGVISOR_PLUGINS_DIR", "plugins")),
            install_dir=read_path("PLUGVISOR_INSTALL_DIR", install_dir) if install_dir else None,
            package_mb=read_count("PLUGVISOR_PACKAGE_MB", get("PLUGVISOR_PACKAGE_MB", "200"), 100_000),
            build_seconds=read_count("PLUGVISOR_BUILD_SECONDS", get("PLUGVISOR_BUILD_SECONDS", "600"), 86_400),
            run_dir=run_dir,
            log_dir=read_folder("PLUGVISOR_LOG_DIR", get("PLUGVISOR_LOG_DIR", str(default_log_dir))),
            cors_origins=read_origins(environ.get("PLUGVISOR_CORS_ORIGINS", "")),
            hosts=read_hosts(environ.get("PLUGVISOR_HOSTS", "")),
            page_dir=read_path("PLUGVISOR_PAGE_DIR", page_dir) if page_dir else None,
            metrics_need_token=read_metrics_auth(get("PLUGVISOR_METRICS_AUTH", "viewer")),
            runner=read_runner(environ.get("PLUGVISOR_RUNNER", "")),
            supervisor_url=read_supervisor_url(get("PLUGVISOR_SUPERVISOR_URL", f"unix://{run_dir}/supervisor.sock")),
            # without root there are no users to switch to, but the service must know them in a run folder of root's
            users=users if is_root or is_roots(run_dir) else None,
            log_to_stdout=read_boolean("PLUGVISOR_LOG_TO_STDOUT", get("PLUGVISOR_LOG_TO_STDOUT", "false")),
            public_url=read_public_url(get("PLUGVISOR_URL", "")),
            state_dir=read_path("PLUGVISOR_STATE_DIR", get("PLUGVISOR_STATE_DIR", str(default_state_dir))),
            remember=read_boolean("PLUGVISOR_REMEMBER", get("PLUGVISOR_REMEMBER", "true")),
            journal_days=read_count("PLUGVISOR_JOURNAL_DAYS", get("PLUGVISOR_JOURNAL_DAYS", "30"), 3650),
            journal_mb=read_count("PLUGVISOR_JOURNAL_MB", get("PLUGVISOR_JOURNAL_MB", "100"), 1_000_000),
            reads_need_token=read_read_auth(get("PLUGVISOR_READ_AUTH", "open")),
            webhooks=read_webhooks(get("PLUGVISOR_WEBHOOKS", "")),
            webhook_secret_file=read_path("PLUGVISOR_WEBHOOK_SECRET_FILE", secret_file) if secret_file else None,
            engine=engine,
            dialect=read_choice("PLUGVISOR_DIALECT", get("PLUGVISOR_DIALECT", "none"), ("none", "neko")),
            log_format=read_choice("PLUGVISOR_LOG_FORMAT", get("PLUGVISOR_LOG_FORMAT", "text"), ("text", "json")),
            swarm=read_swarm_settings(get) if engine == "swarm" else SwarmSettings(),
        )

    def to_env(self) -> dict[str, str]:
        """Return variables from which another process reads the same settings, in any working directory."""
        return {
            "PLUGVISOR_HOST": self.host,
            "PLUGVISOR_PORT": str(self.port),
            "PLUGVISOR_HOSTS": ",".join(self.hosts),
            "PLUGVISOR_PLUGINS_DIR": str(self.plugins_dir),
            "PLUGVISOR_INSTALL_DIR": str(self.install_dir or ""),
            "PLUGVISOR_PACKAGE_MB": str(self.package_mb),
            "PLUGVISOR_BUILD_SECONDS": str(self.build_seconds),
            "PLUGVISOR_RUN_DIR": str(self.run_dir),
            "PLUGVISOR_LOG_DIR": str(self.log_dir),
            "PLUGVISOR_CORS_ORIGINS": ",".join(self.cors_origins),
            "PLUGVISOR_PAGE_DIR": str(self.page_dir or ""),
            "PLUGVISOR_METRICS_AUTH": "viewer" if self.metrics_need_token else "none",
            "PLUGVISOR_READ_AUTH": "viewer" if self.reads_need_token else "open",
            "PLUGVISOR_STATE_DIR": str(self.state_dir),
            "PLUGVISOR_REMEMBER": str(self.remember).lower(),
            "PLUGVISOR_JOURNAL_DAYS": str(self.journal_days),
            "PLUGVISOR_JOURNAL_MB": str(self.journal_mb),
            "PLUGVISOR_WEBHOOKS": ",".join(self.webhooks),
            "PLUGVISOR_WEBHOOK_SECRET_FILE": str(self.webhook_secret_file or ""),
            "PLUGVISOR_RUNNER": shlex.join(self.runner or ()),
            "PLUGVISOR_SUPERVISOR_URL": self.supervisor_url,
            "PLUGVISOR_SERVICE_USER": self.users.service.name if self.users else "",
            "PLUGVISOR_PLUGIN_USER": self.users.plugins.name if self.users else "",
            "PLUGVISOR_ENGINE": self.engine,
            "PLUGVISOR_NAME": self.swarm.name,
            "PLUGVISOR_DOCKER_HOST": ",".join(self.swarm.docker_hosts),
            "PLUGVISOR_DOCKER_CERTS": str(self.swarm.docker_certs or ""),
            "PLUGVISOR_REGISTRY": self.swarm.registry,
            "PLUGVISOR_REGISTRY_AUTH_FILE": str(self.swarm.registry_auth_file or ""),
            "PLUGVISOR_IMAGE": self.swarm.image,
            "PLUGVISOR_NETWORK": self.swarm.network,
            "PLUGVISOR_LOG_TO_STDOUT": str(self.log_to_stdout).lower(),
            "PLUGVISOR_LOG_FORMAT": self.log_format,
            "PLUGVISOR_DIALECT": self.dialect,
            "PLUGVISOR_URL": self.public_url or "",
        }

    @property
    def socket_path(self) -> Path | None:
        """The Unix socket that HTTP listens on; None for a TCP port."""
        return Path(self.host.removeprefix(UNIX)) if self.host.startswith(UNIX) else None

    @property
    def url(self) -> str:
        """The service's address on this machine; loopback if it listens on all addresses."""
        return make_url(self.host, self.port)

    @property
    def answers_to_any_name(self) -> bool:
        """Whether requests can name any host because the service listens on all addresses and no names are set."""
        return self.host in ("0.0.0.0", "::") and not self.hosts  # noqa: S104 - compared, not bound

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Patterns of the hosts that requests can name, besides those of loopback."""
        is_socket = self.socket_path is not None
        if self.answers_to_any_name or (is_socket and not self.hosts):
            return ("*",)
        names = ["" if is_socket else self.host, urlsplit(self.public_url or "").hostname or ""]
        return (*self.hosts, *(f"[{name}]" if ":" in name else name for name in names if name))

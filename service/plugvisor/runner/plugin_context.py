"""The context that the runner offers to a plugin that asks for one, in place of a plugin host's.

It has what a plugin can have by itself: its id, folder, data folder, configuration and logger. A call to the host
raises `AttributeError`, with a message that names it, so that `hasattr` finds out what there is.

The runner loads this file by its path; it imports nothing of Plugvisor.
"""

import logging
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

MANIFEST = "plugin.toml"
DATA_VARIABLE = "PLUGVISOR_DATA_DIR"
FORMAT = "%(asctime)s | %(levelname)-8s | %(message)s"


class PluginContext:
    """A plugin's id, folders, logger and configuration.

    Attributes:
        plugin_id: the manifest's id, or else the folder's name.
        folder: the plugin's folder, which is the working directory, too.
        config_path: the path of the manifest.
        config: the whole manifest, as a dict, as it was when the plugin was started.
        logger: prints to standard output, which is the plugin's log.
        run_id: None, as there is no host that has begun a run.
    """

    run_id = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_path = folder / MANIFEST
        self.config: dict[str, Any] = read_manifest(self.config_path)
        table = self.config.get("plugin")
        name = table.get("id") if isinstance(table, dict) else None
        self.plugin_id = name if isinstance(name, str) and name else folder.name
        self.logger = find_host_logger(self.plugin_id) or make_logger(self.plugin_id)

    def __repr__(self) -> str:
        return f"<PluginContext of {self.plugin_id!r}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(
            f"ctx.{name} needs a plugin host, and there is none: this plugin is run by itself; docs/manifest.md "
            "says what its context has"
        )

    @property
    def data_dir(self) -> Path:
        """A folder for the plugin's data: that of an installed plugin, or `data` in its own folder; made if missing."""
        path = Path(os.environ.get(DATA_VARIABLE) or self.folder / "data")
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def get_own_config(self, **_timeout: float) -> dict[str, Any]:
        """Read the manifest as it is now; `config` in what is returned is all of it."""
        return {"plugin_id": self.plugin_id, "config": read_manifest(self.config_path)}

    get_own_base_config = get_own_config

    async def get_own_effective_config(self, profile_name: str | None = None, **_timeout: float) -> dict[str, Any]:
        """As `get_own_config`: profiles are a host's."""
        if profile_name is not None:
            raise LookupError(f"there is no profile {profile_name!r}: profiles need a plugin host")
        return await self.get_own_config()

    def update_status(self, status: object) -> None:
        """Do nothing: it is a host that shows what a plugin reports of itself."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def read_manifest(path: Path) -> dict[str, Any]:
    """Parse a manifest; one that cannot be read now is empty, as the plugin may run by another since its start."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def find_host_logger(name: str) -> Any:
    """Return loguru's logger if the plugin uses the SDK of the host, which calls it so; otherwise None."""
    loguru = sys.modules.get("loguru")
    return loguru.logger.bind(plugin_id=name) if loguru and "plugin.sdk" in sys.modules else None


def make_logger(name: str) -> logging.Logger:
    """Make a logger that prints to standard output.

    It belongs to no other logger, so that nothing that the plugin sets up prints its lines twice.
    """
    logger = logging.Logger(name, logging.INFO)  # noqa: LOG001 - the plugin may have one of this name
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(fill_in)
    logger.addHandler(handler)
    return logger


def fill_in(record: logging.LogRecord) -> bool:
    """Fill the arguments into a message that has `{}` for them, as loguru's messages have."""
    if record.args:
        try:
            record.getMessage()
        except Exception:  # noqa: BLE001 - what a plugin logs must not end it
            arguments = record.args if isinstance(record.args, tuple) else (record.args,)
            try:
                record.msg = str(record.msg).format(*arguments)
            except Exception:  # noqa: BLE001 - as above
                record.msg = f"{record.msg} (with other arguments)"
            record.args = None
    return True

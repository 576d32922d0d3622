"""The folders that hold plugins: the default one is made, and one that nothing can be installed in is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.settings import Settings


def prepare_plugins_folder(settings: Settings, environ: Mapping[str, str]) -> None:
    """Make the default plugins folder if it is missing; one that was named must exist, or its name is misspelt.

    Raises:
        ConfigurationError
    """
    if environ.get("PLUGVISOR_PLUGINS_DIR"):
        return
    try:
        settings.plugins_dir.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the plugins folder {str(settings.plugins_dir)!r}: {error.strerror}; "
            "set PLUGVISOR_PLUGINS_DIR to the folder that holds your plugins"
        ) from error


def describe_install_obstacle(settings: Settings) -> str:
    """Why no plugin can be installed in the folder that was named for that, with advice after a semicolon; or nothing.

    Without such a folder plugins are installed among the others, which may be read-only on purpose.
    """
    folder = settings.install_dir
    if folder is None:
        return ""
    from plugvisor.manager.installation.site import find_obstacle  # noqa: PLC0415 - it imports asyncio

    obstacle = find_obstacle(folder, settings.users)
    if not obstacle:
        return ""
    advice = "" if folder.exists() else "create it, or "
    return (
        f"no plugin can be installed in {str(folder)!r}: {obstacle}; "
        f"{advice}set PLUGVISOR_INSTALL_DIR to a folder that can be written to"
    )

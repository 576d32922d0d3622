"""The folder `plugins` of somebody who starts in an empty folder."""

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

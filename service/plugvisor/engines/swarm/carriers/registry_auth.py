"""The credentials of the registry, as the Engine takes them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from plugvisor.swarm_settings import SwarmSettings

HEADER = "X-Registry-Auth"
_LARGEST_BYTES = 4096
_NONE = {HEADER: base64.urlsafe_b64encode(b"{}").decode()}


def read_registry_auth(settings: SwarmSettings, image: str) -> dict[str, str]:
    """The header of calls that pull an image or push it, and of services whose nodes pull it. Blocks.

    The file is read each time: a password may change. Another registry than that of the settings gets none.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    path, host = settings.registry_auth_file, settings.registry.partition("/")[0]
    if path is None or not host or not image.startswith(f"{host}/"):
        return _NONE
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"cannot read PLUGVISOR_REGISTRY_AUTH_FILE: {reason}") from None
    user, colon, password = text.partition(":")
    if not user or not colon or "\n" in text:
        raise ConfigurationError("cannot use PLUGVISOR_REGISTRY_AUTH_FILE: it must contain one line, user:password")
    values = {"username": user, "password": password, "serveraddress": host}
    return {HEADER: base64.urlsafe_b64encode(json.dumps(values).encode()).decode()}

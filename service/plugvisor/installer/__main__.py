"""`python -m plugvisor.installer`: a worker, with a listening Unix socket as descriptor 0.

It accepts one connection and does what it is asked for (`protocol.py`). When the connection ends it removes what it
has staged, and ends. If it is killed, the next start of the service removes that (`folder/recovery.py`).
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import traceback
from typing import TYPE_CHECKING, Any

from plugvisor.installer.folder.install_folder import InstallFolder
from plugvisor.installer.folder.manifests import write_manifest
from plugvisor.installer.folder.records import NO_SPACE
from plugvisor.installer.folder.recovery import recover
from plugvisor.installer.interruption import Interrupted, Interruptions
from plugvisor.installer.protocol import Connection, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

ACCEPT_SECONDS = 10.0


class Worker:
    """The requests, each handled by the method of its name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._interruptions = Interruptions(connection.is_over)
        self._path = ""
        self._opened: InstallFolder | None = None

    def run(self) -> None:
        """Do one request after the other, until the other side hangs up."""
        requests: dict[str, Callable[..., dict[str, Any]]] = {
            name: getattr(self, name)
            for name in ("open", "unpack", "place", "build", "swap", "record", "prune", "remove", "manifest", "tidy")
        }
        try:
            while (request := self._connection.read(lambda: self._interruptions.is_asked)) is not None:
                self._answer(requests[request.pop("do")], request)
        except (Interrupted, OSError):
            pass  # the other side is gone
        finally:
            if self._opened is not None:
                with contextlib.suppress(OSError, Refused):  # the next start of the service tries again
                    self._opened.close()

    def _answer(self, do: Callable[..., dict[str, Any]], request: dict[str, Any]) -> None:
        try:
            answer = do(**request)
        except Refused as error:
            self._connection.refuse(error)
        except BrokenPipeError:
            raise  # it said something, and nobody is there
        except OSError as error:
            self._connection.refuse(_explain(error))
        except Exception:  # noqa: BLE001 - a defect; the service logs it
            self._connection.refuse(Refused("failed", "the worker has failed", log=traceback.format_exc().splitlines()))
        else:
            self._connection.answer(ok=answer)

    @property
    def _folder(self) -> InstallFolder:
        if self._opened is None:
            self._opened = InstallFolder(self._path)
        return self._opened

    # -- requests

    def open(self, install_dir: str) -> dict[str, Any]:
        """Say which folder is meant; it is not looked at before it is needed."""
        self._path = install_dir
        return {}

    def unpack(self) -> dict[str, Any]:
        """Unpack the package that has come as a descriptor."""
        from plugvisor.installer.names import PackageRefused  # noqa: PLC0415 - most workers unpack nothing
        from plugvisor.installer.unpack import unpack  # noqa: PLC0415

        package = self._connection.take_descriptor()
        try:
            name, path = self._folder.stage()
            with self._interruptions.interruptible():
                summary = unpack(package, path)
        except PackageRefused as error:
            raise Refused("invalid_package", str(error), error.entry) from error
        finally:
            os.close(package)
        manifest = base64.b64encode(summary.manifest).decode()
        return {
            "staged": name,
            "manifest": manifest,
            "entries": summary.entries,
            "size_bytes": summary.size_bytes,
        }

    def place(self, staged: str, plugin_id: str, version: str) -> dict[str, Any]:
        """See `InstallFolder.place`."""
        self._folder.place(staged, plugin_id, version)
        return {}

    def build(self, plugin_id: str, version: str, python: str, seconds: float) -> dict[str, Any]:
        """Make a version's environment, and seal the version."""
        from plugvisor.installer.environment import build  # noqa: PLC0415
        from plugvisor.installer.uv import BuildRefused  # noqa: PLC0415

        path = self._folder.find_version(plugin_id, version)
        try:
            built = build(
                path,
                python,
                seconds,
                self._folder.cache,
                say=self._connection.say,
                is_cancelled=self._is_cancelled,
            )
        except BuildRefused as error:
            if self._is_cancelled():
                raise Interrupted from error
            raise Refused("build_failed", str(error), log=error.log) from error
        self._folder.seal(plugin_id, version)
        return {"environment": built.environment, "python": built.python}

    def swap(self, plugin_id: str, version: str, record: dict[str, Any]) -> dict[str, Any]:
        """See `InstallFolder.swap`."""
        self._folder.swap(plugin_id, version, record)
        return {}

    def record(self, plugin_id: str, record: dict[str, Any]) -> dict[str, Any]:
        """See `InstallFolder.write_record`."""
        self._folder.write_record(plugin_id, record)
        return {}

    def prune(self, plugin_id: str, keep: list[str]) -> dict[str, Any]:
        """See `InstallFolder.prune`."""
        self._folder.prune(plugin_id, keep)
        self._delete_discarded()
        return {}

    def remove(self, plugin_id: str, record: dict[str, Any], purge: bool) -> dict[str, Any]:
        """See `InstallFolder.remove`."""
        self._folder.remove(plugin_id, record, purge=purge)
        self._delete_discarded()
        return {}

    def manifest(self, directory: str, text: str, expected_sha256: str) -> dict[str, Any]:
        """See `write_manifest`."""
        write_manifest(directory, base64.b64decode(text), expected_sha256)
        return {}

    def tidy(self) -> dict[str, Any]:
        """See `recover`; another worker may be about to end."""
        if not self._folder.staging.wait_alone():
            raise Refused("failed", "an earlier worker of the install folder has not ended yet")
        return {"plugins": recover(self._folder, self._connection.say)}

    def _is_cancelled(self) -> bool:
        return self._interruptions.is_asked or self._connection.is_over()

    def _delete_discarded(self) -> None:
        """Nothing leads to what was removed any more: if some of it stays, the request is done all the same."""
        try:
            with self._interruptions.interruptible():
                self._folder.staging.delete_discarded()
        except OSError as error:
            self._connection.say(f"some of it could not be removed: {error.strerror}")


def _explain(error: OSError) -> Refused:
    if error.errno in NO_SPACE:
        return Refused("no_space", "there is no space left")
    return Refused("failed", f"the install folder cannot be changed: {error.strerror}")


def main() -> None:
    """Be a worker."""
    os.umask(0o022)
    with socket.socket(fileno=0) as listener:
        listener.settimeout(ACCEPT_SECONDS)
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return  # who has asked for it is gone
    os.open(os.devnull, os.O_RDWR)  # descriptor 0 must not become that of a file
    with connection:
        Worker(Connection(connection)).run()


if __name__ == "__main__":
    main()

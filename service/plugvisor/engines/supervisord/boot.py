"""Getting ready to run supervisord: folders, lock, programs, admin code."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from plugvisor.admin_code import AdminCode, keep_admin_code, make_admin_code, read_admin_code
from plugvisor.engines.supervisord.extension.intents.boot_starts import STARTS_FILE
from plugvisor.engines.supervisord.extension.intents.request_file import REQUESTS_FILE, read_requests
from plugvisor.engines.supervisord.extension.patches.held_socket import HELD_DESCRIPTOR
from plugvisor.engines.supervisord.extension.processes.launch_file import LaunchFileError, parse_launch
from plugvisor.engines.supervisord.program import render_program
from plugvisor.engines.supervisord.publisher import Publisher
from plugvisor.engines.supervisord.run_folder import read_plugins_user, run_dir_errors
from plugvisor.errors import ConfigurationError
from plugvisor.plugins.catalog import Catalog, load_catalog, load_plugin
from plugvisor.plugins.dependencies import resolve
from plugvisor.users import become_user
from plugvisor.variable_files import VariableFileError, encode, read_values
from plugvisor.webhook_secret import keep_webhook_secret, read_webhook_secret

if TYPE_CHECKING:
    import socket

    from plugvisor.settings import Settings
    from plugvisor.store.tables.intents import StoredIntents

_LOCK_DESCRIPTOR = 3  # supervisord closes all from 5 on when it reloads itself (`ServerOptions.cleanup_fds`)
_SECRET_VARIABLES = ("PLUGVISOR_ADMIN_CODE", "PLUGVISOR_TOKEN")
SUPERVISORD_CONF = Path(__file__).with_name("supervisord.conf")
"""In a checkout, a link to `supervisor_conf/supervisord.conf`."""


def make_environ(settings: Settings, plugins_count: int) -> dict[str, str]:
    """The environment for supervisord, without the admin code and the token of commands.

    Raises:
        ConfigurationError: the settings name another supervisord than the one to be started.
    """
    own_url = f"unix://{settings.run_dir}/supervisor.sock"
    if settings.supervisor_url != own_url:
        raise ConfigurationError(
            "cannot start a supervisord while PLUGVISOR_SUPERVISOR_URL names another one: "
            "unset it, or run `plugvisor serve` beside that one"
        )
    return {
        **{name: value for name, value in os.environ.items() if name not in _SECRET_VARIABLES},
        **settings.to_env(),
        "PLUGVISOR_PYTHON": sys.executable,
        "PLUGVISOR_PROGRAMS": "",  # the extension adds them
        "PLUGVISOR_MINFDS": str(count_descriptors(plugins_count)),
    }


def count_descriptors(plugins_count: int) -> int:
    """How many open files supervisord should be allowed: three for each plugin, and room for those to come."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1024 + 4 * plugins_count
    return wanted if hard_limit == resource.RLIM_INFINITY else min(wanted, hard_limit)


def make_ctl_environ(settings: Settings) -> dict[str, str]:
    """The environment for supervisorctl, which reads user and password from its configuration alone."""
    url = urlsplit(settings.supervisor_url)
    return {
        **os.environ,
        "PLUGVISOR_CTL_URL": f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}",
        "PLUGVISOR_CTL_USERNAME": unquote(url.username or ""),
        "PLUGVISOR_CTL_PASSWORD": unquote(url.password or ""),
    }


def lock_run_dir(settings: Settings) -> None:
    """Take the run folder for this process and the supervisord that it becomes, however that ends.

    Raises:
        ConfigurationError: another Plugvisor has it.
    """
    with run_dir_errors(settings):
        descriptor = os.open(settings.run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigurationError(
            f"cannot start: Plugvisor is running already with the run folder {str(settings.run_dir)!r}; use that one, "
            "end it first, or set PLUGVISOR_RUN_DIR, PLUGVISOR_STATE_DIR and PLUGVISOR_PORT for a second one"
        ) from error
    os.dup2(descriptor, _LOCK_DESCRIPTOR)
    os.set_inheritable(_LOCK_DESCRIPTOR, True)  # dup2 does not if both are the same


def pass_listener(listener: socket.socket) -> None:
    """Pass the service's listening socket to the supervisord that this process becomes.

    supervisord has it from before the first plugin to after the last: no plugin can take the address, and
    connections wait while the service restarts.
    """
    descriptor = listener.detach()
    if descriptor != HELD_DESCRIPTOR:
        os.dup2(descriptor, HELD_DESCRIPTOR)
        os.close(descriptor)
    os.set_inheritable(HELD_DESCRIPTOR, True)


def render_programs(settings: Settings, *, keep_broken: bool) -> Catalog:
    """Publish every valid plugin and remove what is no plugin any more; supervisord is not asked.

    Returns:
        the plugins that have a folder.

    Args:
        keep_broken: leave the program of a plugin whose manifest is broken, for it may be running.

    Raises:
        ConfigurationError
    """
    publisher = Publisher(settings.run_dir)
    render = partial(render_program, settings=settings)
    try:
        published = publisher.read_folders()
        catalog = resolve(load_catalog(settings.plugins_dir, published, render, None, settings.install_dir))
    except OSError as error:
        advice = "create it, or set" if isinstance(error, FileNotFoundError) else "set"
        which, name, held = "plugins", "PLUGVISOR_PLUGINS_DIR", "holds your plugins"
        if str(error.filename) == str(settings.install_dir):
            which, name, held = "install", "PLUGVISOR_INSTALL_DIR", "plugins are installed in"
        raise ConfigurationError(
            f"cannot read the {which} folder {str(error.filename)!r}: {error.strerror}; "
            f"{advice} {name} to the folder that {held}"
        ) from error
    with run_dir_errors(settings):
        for plugin in list(catalog.values()):
            if plugin.program is None or plugin.folder is None:
                continue
            try:
                publisher.write(plugin.program)
            except FileExistsError:  # a foreign file was put in its place just now: that concerns this plugin alone
                catalog[plugin.id] = load_plugin(plugin.folder, render)
        for plugin_id in published:
            plugin = catalog[plugin_id]
            if plugin.program is None and not (keep_broken and plugin.folder is not None):
                publisher.remove(plugin_id)
    return {plugin_id: plugin for plugin_id, plugin in catalog.items() if plugin.folder is not None}


def list_foreign_files(settings: Settings) -> list[str]:
    """A sentence for each file in the folders for generated ones that Plugvisor has not written."""
    return [
        f"left alone: {str(path)!r} was not written by Plugvisor" for path in Publisher(settings.run_dir).list_foreign()
    ]


def write_starts(settings: Settings, stored: StoredIntents | None) -> str:
    """Write which plugins supervisord starts, by what operators want of them.

    What they asked for by supervisorctl counts too if no service was there to remember it.

    Args:
        stored: what is remembered; None if it cannot be read: what the service has written last applies then.

    Returns:
        a warning if that cannot be followed, for it keeps nothing from running; else nothing.
    """
    path = str(settings.run_dir / REQUESTS_FILE)
    if not settings.remember:
        with contextlib.suppress(OSError):
            os.unlink(path)
    if stored is None:
        return "cannot read what is remembered of the plugins; those are started that were to be started the last time"
    wanted = {name: intent.wanted == "running" for name, intent in stored.intents.items() if settings.remember}
    with contextlib.suppress(OSError, ValueError):  # supervisord logs it
        for name, asked in read_requests(path).items():
            is_undone = name in stored.intents and stored.intents[name].is_after(asked["at"])
            if not is_undone and stored.asked.get(name) != asked["token"]:
                wanted[name] = asked["wanted"] == "running"
    try:
        Publisher(settings.run_dir).write_starts(wanted | dict.fromkeys(stored.disabled, False))
    except OSError as error:
        return f"cannot write which plugins are started: {error.filename or STARTS_FILE}: {error.strerror}"
    return ""


def prepare_admin_code(settings: Settings, environ: dict[str, str]) -> AdminCode:
    """Decide on the admin code and hand it to the service by a file, never by supervisord's environment.

    Args:
        environ: what supervisord will be started with; the file's name is added.

    Raises:
        ConfigurationError
    """
    path = settings.run_dir / "admin_code"
    code = read_admin_code(os.environ) or make_admin_code()
    # root's file may be one that neither the service nor a plugin can read
    if code.is_new or os.environ.get("PLUGVISOR_ADMIN_CODE") or settings.users:
        with run_dir_errors(settings):
            keep_admin_code(path, code, settings.users.service.gid if settings.users else None)
    else:
        path = Path(os.environ["PLUGVISOR_ADMIN_CODE_FILE"]).absolute()
    environ["PLUGVISOR_ADMIN_CODE_FILE"] = str(path)
    return code


def prepare_webhook_secret(settings: Settings, environ: dict[str, str]) -> None:
    """Check the secret that signs webhooks; with two users, copy it to a file that the service can read.

    Args:
        environ: what supervisord will be started with; the file's name is changed.

    Raises:
        ConfigurationError
    """
    secret = read_webhook_secret(settings)
    if secret is not None and settings.users is not None:
        path = settings.run_dir / "webhook_secret"
        with run_dir_errors(settings):
            keep_webhook_secret(path, secret, settings.users.service.gid)
        environ["PLUGVISOR_WEBHOOK_SECRET_FILE"] = str(path)


def execute_plugin(path: Path) -> NoReturn:
    """Become a plugin, with the directory, arguments and environment that its launch file says.

    root becomes the user whom supervisord runs plugins as, whatever the variables of this shell say.

    Raises:
        ConfigurationError: it is not published, or cannot be executed.
    """
    try:
        launch = parse_launch(path.read_bytes())
        environ = launch.build_environment(os.environ)
        if os.geteuid() == 0 and (user := read_plugins_user(path.parent.parent)) is not None:
            become_user(user)
        values = read_values(launch.environment_files)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # which Python ignores, and a program would go on ignoring
        os.chdir(launch.directory)
        complete = {encode(name): encode(value) for name, value in environ.items()}
        complete |= {encode(name): value for name, value in values.items()}
        os.execvpe(encode(launch.arguments[0]), list(map(encode, launch.arguments)), complete)
    except LaunchFileError as error:
        raise ConfigurationError(f"cannot run {path.stem!r}: {error}") from error
    except VariableFileError as error:
        raise ConfigurationError(
            f"cannot run {path.stem!r}: {error} ({launch.environment_files[error.name]!r})"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"cannot run {path.stem!r}: {error.filename or 'its program'}: {error.strerror}; "
            "`plugvisor render` writes the launch files, `plugvisor check` shows invalid manifests"
        ) from error

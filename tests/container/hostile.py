"""A plugin that tries to break out, and prints what it managed to do as JSON.

For a container only, never for a machine.
"""

import ctypes
import json
import os
import pathlib
import signal
import socket
import sys
import time
import urllib.error
import urllib.request

RUN, LOGS, STATE, SECRET = (pathlib.Path(argument) for argument in sys.argv[1:])
PTRACE_ATTACH, PTRACE_DETACH = 16, 17


def find_service():
    """Return the service's pid, which every process may see."""
    while True:
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if b"plugvisor\0serve" in (folder / "cmdline").read_bytes():
                    return int(folder.name)
            except OSError:
                pass
        time.sleep(0.05)


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def trace(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.waitpid(pid, 0x40000000)
    libc.ptrace(PTRACE_DETACH, pid, None, None)


def halt(pid):
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)  # which the kernel allows towards everyone in one session


def append(path):
    with open(path, "ab"):
        pass


def create(folder):
    path = folder / "made-by-a-plugin"
    path.touch()
    path.unlink()


def stop_without_code():
    request = urllib.request.Request("http://127.0.0.1:48916/plugin/hostile/stop", method="POST")
    urllib.request.urlopen(request, timeout=10).read()


def main():
    service = find_service()
    # connections are accepted before; its files are there when it answers
    urllib.request.urlopen("http://127.0.0.1:48916/health", timeout=30).read()
    attempts = {
        "open supervisord's socket": lambda: connect(RUN / "supervisor.sock"),
        "open the state stream": lambda: connect(RUN / "state.sock"),
        "read the admin code": (RUN / "admin_code").read_bytes,
        "read the secret file": SECRET.read_bytes,
        "read the service's environment": lambda: pathlib.Path(f"/proc/{service}/environ").read_bytes(),
        "read the service's memory": lambda: open(f"/proc/{service}/mem", "rb").close(),
        "look at the service's files": lambda: os.listdir(f"/proc/{service}/fd"),
        "read supervisord's environment": lambda: pathlib.Path("/proc/1/environ").read_bytes(),
        "write to supervisord's output": lambda: append("/proc/1/fd/1"),
        "signal the service": lambda: os.kill(service, 0),
        "halt the service": lambda: halt(service),
        "signal supervisord": lambda: os.kill(1, 0),
        "trace the service": lambda: trace(service),
        "change a program": lambda: append(RUN / "conf.d" / "hostile.conf"),
        "add a program": lambda: create(RUN / "conf.d"),
        "see the programs": lambda: os.listdir(RUN / "conf.d"),
        "read its launch script": (RUN / "launch" / "hostile.sh").read_bytes,
        "change its launch script": lambda: append(RUN / "launch" / "hostile.sh"),
        "add a launch script": lambda: create(RUN / "launch"),
        "write to the run folder": lambda: create(RUN),
        "remove the lock": lambda: append(RUN / "lock"),
        "read the logs": lambda: os.listdir(LOGS),
        "write a log": lambda: append(LOGS / "_server.log"),
        "add a log": lambda: create(LOGS),
        "read the store": (STATE / "plugvisor.db").read_bytes,
        "change the store": lambda: append(STATE / "plugvisor.db"),
        "write to the state folder": lambda: create(STATE),
        "change Plugvisor": lambda: append("/opt/plugvisor/share/runner.py"),
        "change a plugin": lambda: append("/plugins/hostile/main.py"),
        "become root": lambda: os.setuid(0),
        "become the service": lambda: os.setuid(916),
        "join the service's group": lambda: os.setgid(916),
        "stop a plugin without the code": stop_without_code,
    }
    done = {}
    for what, attempt in attempts.items():
        try:
            attempt()
            done[what] = ""
        except (OSError, urllib.error.HTTPError) as error:
            done[what] = getattr(error, "strerror", None) or str(error)
    found = [
        name
        for name, value in os.environ.items()
        if "an-admin-code" in value or (name.startswith("PLUGVISOR_") and name != "PLUGVISOR_PLUGIN")
    ]
    sys.stdout.write(json.dumps({"service": service, "done": done, "environment": found}) + "\n")
    sys.stdout.flush()
    signal.pause()


main()

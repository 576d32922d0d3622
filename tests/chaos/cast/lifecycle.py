"""Plugins with checks, dependencies, restart policies and limits.

One that others require appends a line to the file `CHAOS_TRACE` before its check can pass. `start_order` reads it.
"""

from __future__ import annotations

from tests.chaos.cast.plugins import OBEYS, WAITS, Behaviour

CHECK_PORT = 7007
"""Below the system's ephemeral ports; each plugin of each Plugvisor has an address of its own."""

_TRACES = """\
def trace():
    with open(os.environ["CHAOS_TRACE"], "a") as file:
        file.write(f"{time.time():.6f} {os.getpid()}\\n")
"""
_WRITES_ITS_PID = """\
with open(os.environ["CHAOS_TRACE"] + ".pid", "w") as file:
    file.write(str(os.getpid()))
"""
"""The check fails if the file is of an earlier process."""
_HAS_ITS_PID = """\
exec = ["sh", "-c", 'kill -0 "$(cat "$CHAOS_TRACE.pid")"']
period = 0.2
"""
_SERVES = f"""\
import socket
with socket.create_server((os.environ["CHAOS_ADDRESS"], {CHECK_PORT})) as server:
    while True:
        client, _ = server.accept()
        with client:
            client.settimeout(1)
            try:
                if client.recv(4096).startswith(b"GET /ready "):
                    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
            except OSError:
                pass
"""
_IS_READY_SOON = OBEYS + _TRACES + "time.sleep(0.2)\ntrace()\n"
_EXEC_CHECK = f"[plugin_runtime.checks.pid]\n{_HAS_ITS_PID}"
_TCP_CHECK = f'[plugin_runtime.checks.port]\ntcp = "ADDRESS:{CHECK_PORT}"\nperiod = 0.2\n'
_HTTP_CHECK = f'[plugin_runtime.checks.web]\nhttp = "http://ADDRESS:{CHECK_PORT}/ready"\nperiod = 0.2\n'
_IS_ILL_SOON = """\
import random
time.sleep(random.uniform(0.5, 2))
os.unlink(os.environ["CHAOS_TRACE"] + ".pid")
"""
_LEAKS = """\
leaked = []
for _ in range(100):
    leaked.append(b"x" * 2**21)
    time.sleep(0.05)
"""
"""At most 200 MiB, which takes 5 seconds."""

LIFECYCLE_PLUGINS = {
    # a chain of three; now and then a cycle
    "base": Behaviour(_IS_READY_SOON + _WRITES_ITS_PID + WAITS, runtime=_EXEC_CHECK, may_require={"top": "started"}),
    "middle": Behaviour(_IS_READY_SOON + _SERVES, requires={"base": "ready"}, runtime=_TCP_CHECK),
    "top": Behaviour(OBEYS + WAITS, requires={"middle": "ready"}),
    # a diamond above the first of them
    "left": Behaviour(_IS_READY_SOON + _SERVES, requires={"base": "started"}, runtime=_HTTP_CHECK),
    "right": Behaviour(OBEYS + WAITS, "startsecs = 1", requires={"base": "ready"}),
    "summit": Behaviour(
        OBEYS + WAITS,
        requires={"left": "ready", "right": "ready"},
        runtime='[plugin_runtime.limits]\nmemory = "256M"\nprocesses = 16\nopen_files = 64\n',
    ),
    "oneshot": Behaviour(OBEYS + "time.sleep(0.2)\n", runs_until_stopped=False),
    "prepared": Behaviour(OBEYS + WAITS, requires={"oneshot": "completed"}),
    "casual": Behaviour(OBEYS + WAITS, prefers=("base",)),
    "ailing": Behaviour(
        OBEYS + _WRITES_ITS_PID + _IS_ILL_SOON + WAITS,
        runs_until_stopped=False,
        runtime=f'[plugin_runtime.checks.pid]\n{_HAS_ITS_PID}level = "alive"\nthreshold = 2\n',
    ),
    "leaking": Behaviour(
        OBEYS + _LEAKS + WAITS,
        runs_until_stopped=False,
        runtime='[plugin_runtime.limits]\nmemory = "40M"\n',
    ),
    "exhausted": Behaviour(
        OBEYS + "time.sleep(0.1)\nos._exit(3)\n",
        runs_until_stopped=False,
        restart="restart.delay = 0.05\nrestart.factor = 1\nrestart.max_restarts = 3\nrestart.window = 60",
    ),
}

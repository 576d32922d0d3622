"""Hostile plugins: each attacks what the others and the service need.

They find the service's port in `CHAOS_PORT`, and write what they achieved, a line each, to the file `CHAOS_REPORT`.
"""

from __future__ import annotations

from tests.chaos.cast.plugins import OBEYS, WAITS, Behaviour

_REPORTS = """\
def report(achievement):
    with open(os.environ["CHAOS_REPORT"], "a") as file:
        file.write(achievement + "\\n")
"""
_FORKS = """\
import random
folder = os.getcwd()
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    until = time.monotonic() + 120  # if the test is killed
    while time.monotonic() < until and os.path.exists(folder):
        if os.fork():
            os._exit(0)
        os.setsid()
        time.sleep(random.uniform(0.001, 0.005))
    os._exit(0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(40):
    time.sleep(random.uniform(0.001, 0.005))
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, random.choice([signal.SIG_IGN, signal.SIG_DFL]))
        time.sleep(random.choice([0, 0.1, 120]))
        os._exit(0)
"""
"""A child that is another process in another session every few milliseconds, and 40 others."""
_TAKES_THE_PORT = """\
import socket
port = int(os.environ["CHAOS_PORT"])
addresses = [
    (family, address, option)
    for family, address in [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT)
]
def listen(family, address, option):
    with socket.socket(family) as server:
        if option is not None:
            server.setsockopt(socket.SOL_SOCKET, option, 1)
        server.bind((address, port))
        server.listen()
        report(f"took the port on {address} with the option {option}")
        server.settimeout(1)
        client, _ = server.accept()
        request = client.recv(65536)
        report("was sent the admin code" if b"authorization" in request.lower() else "was sent a request")
        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
        client.close()
while True:
    for one in addresses:
        try:
            listen(*one)
        except OSError:
            pass
        time.sleep(0.002)
"""
_EATS_MEMORY = """\
import random
for _ in range(2):
    if os.fork() == 0:
        break
for _ in range(100):
    eaten = b"x" * (random.randrange(20, 40) * 2**20)
    time.sleep(random.uniform(0.2, 0.6))
    if random.random() < 0.3:
        os._exit(3)
    del eaten
"""
"""Three processes with up to 40 MB each, until one crashes."""
_DELETES_THE_RUN_FOLDER = """\
import random, shutil
run_dir = os.environ["PLUGVISOR_PLUGIN"].rsplit(":", 2)[0]
names = ["supervisor.sock", "state.sock", "admin_code", "lock", "supervisord.pid", "conf.d", "launch", "log"]
if random.random() < 0.3:
    for name in names:
        path = os.path.join(run_dir, name)
        existed = os.path.exists(path)
        try:
            os.unlink(path)
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
        if existed and not os.path.exists(path):
            report(f"deleted {name}")
"""
"""At one start in three, and the supervisord's socket first, by which the test notices."""

HOSTILE_PLUGINS = {
    "forker": Behaviour(OBEYS + _FORKS + WAITS),
    "thief": Behaviour(OBEYS + _REPORTS + _TAKES_THE_PORT),
    "eater": Behaviour(OBEYS + _EATS_MEMORY, "startsecs = 0\nautorestart = true", runs_until_stopped=False),
    "deleter": Behaviour(OBEYS + _REPORTS + _DELETES_THE_RUN_FOLDER + WAITS),
}

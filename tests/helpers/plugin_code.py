"""The code of plugins that tests write."""

OBEDIENT = """\
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Runs until it is asked to stop."""
SAYS_GOODBYE = """\
import signal, sys
def stop(*_):
    print("error: goodbye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Prints something when it is asked to stop."""
HESITANT = """\
import os, signal, sys, time
def stop(*_):
    os.write(1, b"asked to stop\\n")  # a handler that interrupts `print` may not call it
    while not os.path.exists("go"):
        time.sleep(0.01)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Takes as long to stop as the test lets it: until there is a file `go` in its folder."""
IGNORES_SIGTERM = """\
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Ends by SIGKILL alone."""
CRASHING = """\
import time
print("ready", flush=True)
time.sleep(0.05)
raise SystemExit(3)
"""
"""Lives for a moment, and ends with an exit code of 3."""

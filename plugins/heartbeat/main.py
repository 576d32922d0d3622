"""Prints a line every few seconds. What a plugin prints is its log."""

import os
import signal
import sys
import time

SECONDS = float(os.environ.get("HEARTBEAT_SECONDS", "5"))
GREETING = os.environ.get("HEARTBEAT_GREETING", "hello")


def log(text):
    # flush: Python holds back what it writes to a pipe, and the log would stay empty for minutes
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, flush=True)


def on_sigterm(_number, _frame):
    sys.exit()  # raises SystemExit wherever the program is, in the middle of a sleep too


signal.signal(signal.SIGTERM, on_sigterm)
beats = 0
try:
    while True:
        beats += 1
        log(f"{GREETING}, beat {beats}")
        time.sleep(SECONDS)
except (SystemExit, KeyboardInterrupt):
    log(f"goodbye after beat {beats}")

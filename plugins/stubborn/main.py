"""Takes note of every SIGTERM and stays. Only SIGKILL ends it (or Ctrl-C, when it is run by hand)."""

import signal
import sys

# A blocked signal does not end the process; it waits until sigwait() fetches it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("here I am and here I stay", flush=True)
try:
    while True:
        signal.sigwait({signal.SIGTERM})
        print("SIGTERM received, and ignored", flush=True)
except KeyboardInterrupt:
    sys.exit("all right, all right")

"""Leaks memory."""

import time

LEAK_BYTES = 8 * 1024 * 1024

kept = []
while True:
    kept.append(b"x" * LEAK_BYTES)
    print(f"{len(kept) * LEAK_BYTES // 1024**2} MB", flush=True)
    time.sleep(0.2)

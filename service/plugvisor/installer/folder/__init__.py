"""The install folder, which the worker alone changes."""

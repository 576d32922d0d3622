"""Runs inside a task, before the plugin and as its parent: the standard library alone."""

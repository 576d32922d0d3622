"""The commands that follow what happens: logs, usage, events and the journal."""

"""The verbs of the command, as data."""

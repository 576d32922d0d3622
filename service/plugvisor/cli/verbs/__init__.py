"""What the command can do: its verbs, as data."""

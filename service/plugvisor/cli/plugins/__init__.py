"""The commands that list plugins, and start and stop them."""

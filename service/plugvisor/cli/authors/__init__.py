"""Verbs for the authors of plugins."""

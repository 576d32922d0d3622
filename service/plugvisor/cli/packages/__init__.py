"""Verbs for packages: made by their authors, installed by operators."""

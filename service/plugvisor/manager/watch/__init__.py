"""Reloads plugins when their files change."""

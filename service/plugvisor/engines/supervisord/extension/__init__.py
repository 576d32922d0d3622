"""What runs inside supervisord; of the package it imports itself, and what needs the standard library alone."""

SUPERVISOR_VERSION = "4.3.0"
"""The only one that it works with."""

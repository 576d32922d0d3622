"""The extension runs inside supervisord; of the package it imports only itself and standalone modules."""

SUPERVISOR_VERSION = "4.3.0"
"""The only one that it works with."""

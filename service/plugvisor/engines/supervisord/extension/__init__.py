"""What runs inside supervisord; it imports nothing else of ours."""

SUPERVISOR_VERSION = "4.3.0"
"""The only one that it works with."""

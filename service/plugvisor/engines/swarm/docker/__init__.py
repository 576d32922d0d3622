"""The Docker Engine API on the wire."""

"""The endpoints of installation: packages, versions and operations."""

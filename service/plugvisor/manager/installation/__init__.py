"""Plugins come and go: installing, updating, rolling back, removing, and writing manifests."""

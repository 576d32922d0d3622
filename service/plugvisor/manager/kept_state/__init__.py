"""Keeps the service's state also where a service on another machine finds it."""

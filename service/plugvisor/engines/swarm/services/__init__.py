"""A manifest as a service, and changes of services."""

"""Docker Swarm as an engine: many machines, and every plugin one of its services."""

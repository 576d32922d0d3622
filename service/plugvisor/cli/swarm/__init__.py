"""Commands for plugins on a swarm."""

"""How `plugvisor up` begins, and `serve` on a swarm."""

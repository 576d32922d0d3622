"""The swarm's tasks, nodes and services as processes of plugins."""

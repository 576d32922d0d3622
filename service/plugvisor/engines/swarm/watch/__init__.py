"""What the swarm says of tasks, nodes and services, as the processes of plugins."""

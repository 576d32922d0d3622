"""A real swarm on one machine: see `lab.py`."""

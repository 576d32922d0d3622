"""The bodies of installing, updating and configuring plugins."""

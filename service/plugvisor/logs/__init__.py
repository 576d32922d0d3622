"""The log files of plugins and of the service: reading and following them."""

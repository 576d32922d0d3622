"""Plugvisor: a REST service that manages plugins, each of which is an ordinary supervisord program."""

VERSION = "0.1.0"

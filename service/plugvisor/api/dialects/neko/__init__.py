"""`PLUGVISOR_DIALECT=neko`: the front end of an existing plugin host, unchanged (docs/dialects.md)."""

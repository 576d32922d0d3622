"""`plugvisor dev`: one plugin in this terminal, reloaded when its files change."""

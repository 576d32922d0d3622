"""Updates that are killed, disturbed and attacked."""

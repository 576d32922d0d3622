"""What installing, updating, rolling back and removing consist of."""

"""The steps of installing, updating, rolling back and removing."""

"""What checks the promises."""

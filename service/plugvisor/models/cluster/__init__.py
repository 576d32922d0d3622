"""The machines that plugins run on, and what runs on each."""

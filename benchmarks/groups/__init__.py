"""The measurements, by topic."""

"""The plugins of the random test, and which of them a run has."""

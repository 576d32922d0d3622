"""The logs of plugins on any node, brought here."""

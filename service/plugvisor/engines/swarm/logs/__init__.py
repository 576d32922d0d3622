"""What plugins print on any node, brought here."""

"""What plugins and the service have printed: the log files, read and followed."""

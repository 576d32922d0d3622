"""What is measured: Plugvisor, and what it is compared with."""

"""The command line: what it means, what is suggested if it means nothing, and its completion in shells."""

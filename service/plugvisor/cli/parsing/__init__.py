"""The command line: parsing it, suggestions for what is misspelt, and completion in shells."""

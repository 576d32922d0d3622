# PYTHON_ARGCOMPLETE_OK
"""`python -m plugvisor`."""

import sys

from plugvisor.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

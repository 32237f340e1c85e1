"""`python -m aistack`."""

import sys

from aistack.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

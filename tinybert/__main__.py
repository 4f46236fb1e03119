"""`python -m tinybert <command>`, the same as `tinybert <command>` if the package is installed."""

from typing import NoReturn

from tinybert.cli.leaving import leave
from tinybert.cli.main import main


def run() -> NoReturn:
    """Run the command given on the command line and exit."""
    leave(main())


if __name__ == "__main__":
    run()

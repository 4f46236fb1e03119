"""`python -m tinybert <command>`, which is `tinybert <command>` where the package is installed."""

from typing import NoReturn

from tinybert.cli.leaving import leave
from tinybert.cli.main import main


def run() -> NoReturn:
    """Run the command of this process's command line and end the process."""
    leave(main())


if __name__ == "__main__":
    run()

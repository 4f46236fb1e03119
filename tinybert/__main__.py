"""`python -m tinybert <command>`, the same as `tinybert <command>` if the package is installed."""

from typing import NoReturn

from tinybert.cli.main import main
from tinybert.cli.process_exit import exit_process


def run() -> NoReturn:
    """Run the command given on the command line and exit."""
    exit_process(main())


if __name__ == "__main__":
    run()

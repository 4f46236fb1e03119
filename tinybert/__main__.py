"""`python -m tinybert <verb>`."""

from tinybert.cli.leaving import leave
from tinybert.cli.main import main

if __name__ == "__main__":
    leave(main())

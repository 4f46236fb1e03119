"""Write variants of a task's training rows; `--help` lists the options, docs/augmentation.md shows the commands."""

from tinybert.cli.leaving import leave
from tinybert.cli.main import run_script

if __name__ == "__main__":
    leave(run_script("augment"))

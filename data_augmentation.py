"""Write variants of a task's training rows; `--help` lists the options, docs/augmentation.md shows the commands."""

from tinybert.cli.main import run_script
from tinybert.cli.process_exit import exit_process

if __name__ == "__main__":
    exit_process(run_script("augment"))

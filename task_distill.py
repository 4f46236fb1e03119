"""Distil a fine-tuned teacher into a small student on one task; `--help` lists the options, README.md shows the commands."""

from tinybert.cli.leaving import leave
from tinybert.cli.main import run_script

if __name__ == "__main__":
    leave(run_script("distill"))

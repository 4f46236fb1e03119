"""Distil a fine-tuned teacher into a small student on one task; `--help` lists the options, README.md shows the commands."""

from tinybert.cli.main import run_script
from tinybert.cli.process_exit import exit_process

if __name__ == "__main__":
    exit_process(run_script("distill"))

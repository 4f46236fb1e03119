"""Distil a pre-trained teacher into a general student on raw text; `--help` lists the options, docs/general.md shows the commands."""

from tinybert.cli.main import run_script
from tinybert.cli.process_exit import exit_process

if __name__ == "__main__":
    exit_process(run_script("general"))

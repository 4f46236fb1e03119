"""Distil a pre-trained teacher into a general student on raw text; `--help` lists the options, docs/general.md shows the commands."""

from tinybert.cli.leaving import leave
from tinybert.cli.main import run_script

if __name__ == "__main__":
    leave(run_script("general"))

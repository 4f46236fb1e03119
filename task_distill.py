"""Distil a fine-tuned teacher into a small student on one task; `--help` lists the options, README.md shows the commands."""

import sys

from tinybert.cli.main import run_script
from tinybert.settings.arguments import TaskDistillArguments

if __name__ == "__main__":
    sys.exit(run_script(TaskDistillArguments, "tinybert.recipes.task_distill:task_distill"))

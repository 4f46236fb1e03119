"""Write variants of a task's training rows; `--help` lists the options, docs/augmentation.md shows the commands."""

import sys

from tinybert.cli.main import run_script
from tinybert.settings.augment import AugmentArguments

if __name__ == "__main__":
    sys.exit(run_script(AugmentArguments, "tinybert.recipes.augment:augment"))

"""Fine-tune a teacher or a plain baseline on a GLUE task; `--help` lists the options, README.md shows the commands."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tinybert.cli.main import run_script
from tinybert.cli.process_exit import exit_process

if __name__ == "__main__":
    exit_process(run_script("finetune"))

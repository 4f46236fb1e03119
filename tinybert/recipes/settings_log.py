"""What a run prints about its settings; imports no Paddle."""

from __future__ import annotations

from tinybert.config.resolved import Resolved
from tinybert.log import begin_run, detail, in_notebook, logger

SCORING = ("max_seq_length", "eval_batch_size", "metric")  # all that a run without training reads


def log_run_settings(headline: str, resolved: Resolved, trains: bool = True) -> None:
    """Print the headline, every resolved setting with its source (those of `SCORING` if nothing is trained), and warnings."""
    begin_run()
    logger.info(headline)
    if in_notebook():
        shown = resolved.as_table() if trains else [row for row in resolved.as_table() if row[0] in SCORING]
        given = [f"{name} {value}" for name, value, source in shown if source.startswith("given")]
        logger.info(f"settings: {', '.join(given)}; run.json has all of them with their sources")
    detail(resolved.as_text(None if trains else SCORING))
    for warning in resolved.warnings:
        logger.warning(warning)

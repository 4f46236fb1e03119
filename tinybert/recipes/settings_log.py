"""What a run prints about its settings; imports no Paddle."""

from __future__ import annotations

from tinybert.config.resolved import Resolved
from tinybert.log import begin_run, detail, in_notebook, logger


def log_run_settings(headline: str, resolved: Resolved) -> None:
    """Print the headline, every resolved setting with its source, and warnings."""
    begin_run()
    logger.info(headline)
    if in_notebook():
        given = [f"{name} {value}" for name, value, source in resolved.as_table() if source.startswith("given")]
        logger.info(f"settings: {', '.join(given)}; run.json has all of them with their sources")
    detail(resolved.as_text())
    for warning in resolved.warnings:
        logger.warning(warning)

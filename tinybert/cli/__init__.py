"""Command lines: typed arguments, the spellings of the published scripts, presets, `python -m tinybert <command>`."""

"""Command lines: typed arguments, option names of the published scripts, presets, `python -m tinybert <command>`."""

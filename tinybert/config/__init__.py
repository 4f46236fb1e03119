"""Command-line options, presets, and how both are resolved to settings. Nothing here imports Paddle."""

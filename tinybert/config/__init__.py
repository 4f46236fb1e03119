"""What can be set on a command line, the presets, and what both resolve to. Nothing here imports Paddle."""

"""Training objectives: one loss per file, combined in `tinybert.objectives.tinybert`."""

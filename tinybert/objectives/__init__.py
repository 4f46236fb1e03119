"""What the student is trained on: one loss a file, put together by `tinybert.objectives.tinybert`."""

"""Kinds of tasks, one file each: `tinybert.kinds.kind` says what a kind answers, `tinybert.kinds.registry` which there are."""

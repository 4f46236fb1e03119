"""Distillation methods, one per file: options, checks, stages, objective."""

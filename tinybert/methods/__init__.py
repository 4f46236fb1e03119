"""Methods of distillation, one a file: options, checks, stages, objective."""

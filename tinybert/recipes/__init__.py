"""One readable file per procedure, from arguments to results."""

"""Human-readable results: plots, tables, submission files."""

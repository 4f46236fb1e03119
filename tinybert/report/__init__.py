"""What people look at: plots, tables, submission files."""

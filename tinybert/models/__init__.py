"""Safe loading and saving of encoders, forward traces, students and projections."""

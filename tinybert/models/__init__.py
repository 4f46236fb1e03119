"""Safe loading and saving of encoders, traces of their forward pass, students and projections."""

"""Searches for options: what is tried, and the study that chooses."""

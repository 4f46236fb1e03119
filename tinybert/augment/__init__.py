"""Data augmentation: candidates for words, variants of rows, and the work of making them in pieces."""

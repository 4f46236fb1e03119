"""Data augmentation: word candidates, variants of rows, and writing them in parts."""

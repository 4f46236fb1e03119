"""From task files to token arrays to batches: everything here uses NumPy, and importing it does not import Paddle."""

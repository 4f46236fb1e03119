"""Task files to token arrays to batches: everything here speaks NumPy, nothing here imports Paddle when it is
imported.
"""

"""Inference engines for classifiers, one per file. Each is imported on demand, with the library it needs."""

"""What can run a classifier: one file an engine. Each is imported when a folder asks for it, and with it the library that it needs."""

"""The commands, one a file: the configuration of each, and the name of its recipe."""

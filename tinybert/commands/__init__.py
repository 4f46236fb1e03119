"""The commands, one per file: the configuration class and the name of the recipe."""

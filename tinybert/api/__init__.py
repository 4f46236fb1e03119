"""The public API (`import tinybert as tb`): a thin layer over the recipes that the command line also calls."""

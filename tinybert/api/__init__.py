"""The public face: what `import tinybert as tb` offers. A thin layer over the recipes that the command line calls too."""

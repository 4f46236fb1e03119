"""Comparisons of students and methods: which runs there are, who executes them, and their results."""

"""Comparisons of students and methods: which runs, who runs them, what came out."""

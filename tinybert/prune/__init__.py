"""Pruning a fine-tuned encoder: importance, scores, reduction, factorisation."""

"""What can be taken out of a fine-tuned encoder, and what that leaves: importance, scores, reduction, factorisation."""

"""A trained model at work: predictions, files for other engines, what they cost, and a service. Imports Paddle only to run it."""

"""Deployment of a trained model: predictions, exports for other engines, measurements, and a web service. Imports Paddle on demand."""

"""Losses that TensorFlow does not have: pure TensorFlow functions, not reduced."""

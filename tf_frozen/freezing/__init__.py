"""Freezing: which variables of a Keras model train, the audit that the others did not change, and what that saves."""

"""Boxes, anchors, matching, sampling, non-maximum suppression and RoIAlign: pure TensorFlow functions."""

"""Losses that heads take as `class_loss` and `box_loss`: one file each, not reduced."""

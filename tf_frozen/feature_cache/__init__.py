"""Feature cache: runs the frozen backbone once over the training images and stores the feature maps on disk."""

"""What a frozen backbone makes of the training images, kept on disk, so that a step need not make it again."""

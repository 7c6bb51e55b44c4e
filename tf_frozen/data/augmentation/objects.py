"""The type of an image's objects, which augmentations take and return with the image."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

Objects = Mapping[str, tf.Tensor]
"""An image's n objects: boxes [n, 4] float32 in its pixels, classes [n] int32 and, where a detector learns them, masks
[n, S, S] uint8 that fill the boxes, 1 inside the object."""

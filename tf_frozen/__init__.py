"""Train object detectors on frozen pretrained backbones, in TensorFlow and Keras."""

__version__ = "0.1.0"

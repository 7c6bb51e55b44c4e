"""The one place that decides which Keras the package uses: Keras 2, on which Model Garden is built."""

import tf_keras as keras

__all__ = ["keras"]

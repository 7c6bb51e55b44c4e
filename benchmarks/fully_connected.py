r"""Times a box head's first fully connected layer as a matrix product and as a 1×1 convolution, and a training step.

Example: python benchmarks/fully_connected.py --rois 1024 --json

The layer is [rois, 12544] × [12544, 1024]: 7 × 7 bins of 256 channels. With --step it times a training step of a gin
file (default: the quickstart) whose box heads have the one and the other. The two are run in turns in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from unittest import mock

import gin
import tensorflow as tf

from tf_frozen.config.load import load_config
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.dense_block import DenseBlock
from tf_frozen.training.run import Run

FEATURES, UNITS = 7 * 7 * 256, 1024
Calls = Mapping[str, Callable[[], object]]


def main() -> None:
    """Parses the flags, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rois", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step", action="store_true", help="time a training step, too")
    parser.add_argument("--gin_file", default="quickstart.gin")
    parser.add_argument("--steps", type=int, default=10, help="steps of each kind in a round")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = layer_seconds(args.rois, args.rounds)
    if args.step:
        found["step"] = step_seconds(args.gin_file, args.rounds, args.steps)
    print(json.dumps(found, indent=1) if args.json else table(found))


def layer_seconds(rois: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of the layer forward, and forward with both gradients, by round."""
    inputs = tf.random.stateless_normal([rois, FEATURES], [1, 2])
    layers = {"convolution": _ConvBlock(UNITS), "matrix product": DenseBlock(UNITS)}
    forward, both = {}, {}
    for name, layer in layers.items():
        layer(inputs)
        forward[name] = tf.function(lambda layer=layer: layer(inputs))
        both[name] = tf.function(lambda layer=layer: _with_gradients(layer, inputs))
    return {"forward": in_turns(forward, rounds), "forward and gradients": in_turns(both, rounds)}


def step_seconds(gin_file: str, rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds of a training step, by round."""
    calls = {"matrix product": _stepper(gin_file, steps)}
    with mock.patch("tf_frozen.heads.box_head.DenseBlock", _ConvBlock):
        calls = {"convolution": _stepper(gin_file, steps), **calls}
    found = in_turns(calls, rounds)
    return {name: [seconds / steps for seconds in each] for name, each in found.items()}


def in_turns(calls: Calls, rounds: int) -> dict[str, list[float]]:
    """Seconds of each call by round; the first, in which graphs are traced, is excluded."""
    seconds = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            tf.nest.map_structure(lambda tensor: tf.convert_to_tensor(tensor).numpy(), call())
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def table(found: Mapping[str, Mapping[str, list[float]]]) -> str:
    """The medians, and their ratio, with the least and the most in brackets."""
    rows = []
    for what, seconds in found.items():
        ratios = [a / b for a, b in zip(seconds["matrix product"], seconds["convolution"], strict=True)]
        cells = [f"{name} {statistics.median(each):.3f} s" for name, each in seconds.items()]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append(f"{what}: {', '.join(cells)}; ratio {spread}")
    return "\n".join(rows)


class _ConvBlock(DenseBlock):
    """The same layer as a 1×1 convolution over [batch, 1, 1, features]."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if not self.dense.built:
            self.dense.build(inputs.shape)
        kernel = tf.cast(self.dense.kernel, inputs.dtype)[tf.newaxis, tf.newaxis]
        outputs = tf.nn.conv2d(inputs[:, tf.newaxis, tf.newaxis], kernel, 1, "SAME")
        if self.dense.use_bias:
            outputs = tf.nn.bias_add(outputs, tf.cast(self.dense.bias, outputs.dtype))
        if self.norm is not None:
            outputs = self.norm(outputs, training=training)
        return self.activate(outputs)[:, 0, 0]


def _with_gradients(layer: keras.layers.Layer, inputs: tf.Tensor) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(layer(inputs) ** 2)
    return tape.gradient(loss, [inputs, *layer.trainable_weights])


def _stepper(gin_file: str, steps: int) -> Callable[[], object]:
    """What runs `steps` training steps on the gin file's first batches, read beforehand."""
    load_config([gin_file], [])
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder)
        batches, detector = run.feature_source()
    gin.clear_config()
    images, targets = next(iter(batches.dataset(0, 1)))
    step = tf.function(lambda: detector.train_step((images, targets)))
    step()

    def call() -> object:
        for _ in range(steps):
            losses = step()
        return losses

    return call


if __name__ == "__main__":
    main()

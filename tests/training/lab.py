"""Real processes to kill, interrupt and starve.

Importing TensorFlow takes seconds, so one helper process imports it once, and forks for every experiment.
"""

import atexit
import functools
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Lab:
    """Starts experiments (functions of this file) in separate processes."""

    def __init__(self):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.lab"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        atexit.register(self._process.kill)

    def start(self, experiment, log, **arguments):
        """Process id of `experiment`, whose output goes to the file `log`."""
        open(log, "w").close()
        return self._ask({"start": experiment, "log": log, "arguments": arguments})

    def wait(self, pid):
        """Exit status of a process, negative when a signal ended it."""
        return self._ask({"wait": pid})

    def run(self, experiment, log, **arguments):
        """Exit status and output of an experiment that ends by itself."""
        status = self.wait(self.start(experiment, log, **arguments))
        with open(log) as file:
            return status, file.read()

    def _ask(self, question):
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@functools.cache
def lab():
    return Lab()


def wait_for(condition, seconds=30):
    """Waits until `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true after {seconds} s")
        time.sleep(0.01)


def text(path):
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


# ---- experiments, in separate processes


def save_for_ever(folder):
    """Saves step after step, all variables holding the step; prints the step when `save` has returned."""
    from tests.training import tiny
    from tf_frozen.training.checkpoint import Checkpoints

    model = tiny.Tiny(units=20000)
    optimizer = tiny.keras.optimizers.SGD(0.1)
    checkpoints = Checkpoints(folder, model, optimizer)
    step = checkpoints.restore_latest()
    restored = {float(v.numpy().min()) for v in model.variables} | {float(v.numpy().max()) for v in model.variables}
    if step and restored != {float(step)}:
        print(f"MIXED: step {step}, values {restored}", flush=True)
        os._exit(3)
    print(f"restored {step}", flush=True)
    while True:
        step += 1
        optimizer.iterations.assign(step)
        for variable in model.variables:
            variable.assign(variable * 0 + step)
        checkpoints.save()
        print(f"saved {step}", flush=True)


def train(folder, total, step_seconds=0.0, **arguments):
    """Trains `tiny`, with StopOnInterrupt, and prints a line a step; its steps last `step_seconds`."""
    from tests.training import tiny
    from tf_frozen.training.callbacks.interrupt import StopOnInterrupt

    class Say(tiny.keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            print(f"begins {batch}", flush=True)
            time.sleep(step_seconds)

        def on_train_batch_end(self, batch, logs=None):
            print(f"ends {batch}", flush=True)

    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    with StopOnInterrupt(total) as interrupt:
        tiny.train(folder, total, callbacks=[Say(), interrupt], **arguments)
    print(f"interrupted: {interrupt.interrupted}", flush=True)


def command(words, folder):
    """Runs `tf-frozen` with these words in a folder."""
    from tf_frozen import cli

    os.chdir(folder)
    code = cli.main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def two_replicas(folder):
    """Trains on two replicas, restores into another model, and prints how far its replicas are from the first's."""
    import numpy as np
    import tensorflow as tf

    from tests.training import tiny
    from tf_frozen.training.checkpoint import Checkpoints

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model, _ = tiny.train(folder, 2)
        other, optimizer = tiny.Tiny(), tiny.adam()
        step = Checkpoints(folder, other, optimizer).restore_latest()
    trained = tiny.state(folder)[0]["detector/inside/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
    weights = [float(np.abs(value.numpy() - trained).max()) for value in other.inside.kernel.values]
    means = [value.numpy() for value in model.norm.moving_mean.values]
    # TensorFlow saves the mean of statistics that each replica keeps for itself.
    statistics = [float(np.abs(v.numpy() - sum(means) / 2).max()) for v in other.norm.moving_mean.values]
    print(json.dumps({"step": step, "weights": weights, "statistics": statistics}), flush=True)


def average_of_two_replicas():
    """Three steps of gradient 1 on each of two replicas; prints the average that each of them has."""
    import tensorflow as tf

    from tf_frozen.keras_flavor import keras
    from tf_frozen.training.averaging import ramp_momentum

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        variable = tf.Variable(100.0)
        optimizer = ramp_momentum(keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.99))
        optimizer.build([variable])
    step = tf.function(lambda: strategy.run(lambda: optimizer.apply_gradients([(tf.ones([]), variable)])))
    for _ in range(3):
        step()
    print(*(float(each) for each in optimizer._model_variables_moving_average[0].values), flush=True)


def save_with_limit(folder, most_bytes):
    """Saves twice, the second time without leave to write files as large as the checkpoint needs."""
    from tests.training import tiny
    from tf_frozen.errors import RunError
    from tf_frozen.files import write_atomic
    from tf_frozen.training.checkpoint import Checkpoints

    model, optimizer = tiny.Tiny(units=2000), tiny.adam()
    checkpoints = Checkpoints(folder, model, optimizer)
    checkpoints.save()
    optimizer.iterations.assign(1)
    write_atomic(os.path.join(folder, "metrics.json"), "old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    messages = []
    for write in (
        checkpoints.save,
        lambda: write_atomic(os.path.join(folder, "metrics.json"), "x" * 2 * most_bytes),
    ):
        try:
            write()
        except RunError as error:
            messages.append(str(error))
    print(json.dumps(messages), flush=True)


def events_with_limit(folder, most_bytes):
    """Writes events until their file is larger than this process may write, and on."""
    import numpy as np

    from tf_frozen.training.callbacks.tensorboard import TensorBoard

    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    board = TensorBoard(folder, batch_size=1)
    for step in range(4):
        board.images(step, "noise", np.random.default_rng(step).integers(0, 256, [100, 100, 3], np.uint8))
    print("went on", flush=True)


def export_killed(folder):
    """Exports a detector to a folder, and is killed when the whole of it is to get its name."""
    from tests.export.stand_in import CATEGORIES, BrightBox
    from tf_frozen.export.saved_model import export

    def kill(event, _):
        if event == "os.rename":
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    export(BrightBox(), CATEGORIES, folder)


def hold_lock(folder):
    """Holds the lock of a run's folder until it is killed."""
    from pathlib import Path

    from tf_frozen.training.run_lock import RunLock

    with RunLock(Path(folder)):
        print("held", flush=True)
        time.sleep(600)


def _serve():
    import tensorflow  # noqa: F401  the one import that all experiments share

    import tests.training.tiny  # noqa: F401

    for line in sys.stdin:
        question = json.loads(line)
        if "wait" in question:
            _, status = os.waitpid(question["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                _experiment(question)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _experiment(question):
    import traceback

    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(question["log"], os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 0
    try:
        globals()[question["start"]](**question["arguments"])
    except BaseException:  # noqa: B902  whatever it is, this fork must not go on serving
        status = 1
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()

"""EfficientNet-Lite0 in NumPy, from the published table and the weights file alone: slow and simple."""

import numpy as np

# kernel, repeats, in, out, expansion, stride, as the paper and tensorflow/tpu's efficientnet/lite give them
TABLE = (
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1),
    (5, 4, 112, 192, 6, 2),
    (3, 1, 192, 320, 6, 1),
)
OUTPUT_LAYERS = {2: 2, 3: 4, 4: 10, 5: 15}


def features(image, arrays):
    """The maps {level: [h, w, channels]} of one RGB image [h, w, 3] in 0..255, taken after blocks 2, 4, 10 and 15."""
    weights = {key: array.astype(np.float64) for key, array in arrays.items()}
    x = np.clip(_norm(_convolve((image - 127.0) / 128.0, weights["stem_conv/0"], 2), weights, "stem_bn"), 0, 6)
    maps, block = {}, 0
    for kernel, repeats, _, out, expansion, stride in TABLE:
        for repeat in range(repeats):
            x = _block(x, weights, f"b{block}", kernel, out, expansion, stride if repeat == 0 else 1)
            maps |= {level: x for level, last in OUTPUT_LAYERS.items() if last == block}
            block += 1
    return maps


def _block(x, weights, name, kernel, out, expansion, stride):
    y = x
    if expansion > 1:
        y = np.clip(_norm(y @ weights[f"{name}_expand/0"][0, 0], weights, f"{name}_bn0"), 0, 6)
    depthwise = weights[f"{name}_dw/0"]
    assert depthwise.shape[0] == kernel
    y = np.clip(_norm(_convolve(y, depthwise, stride), weights, f"{name}_bn1"), 0, 6)
    y = _norm(y @ weights[f"{name}_project/0"][0, 0], weights, f"{name}_bn2")
    assert y.shape[-1] == out
    return x + y if x.shape == y.shape else y


def _norm(x, weights, name):
    gamma, beta, mean, variance = (weights[f"{name}/{index}"] for index in range(4))
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def _convolve(x, kernel, stride):
    """A same-padded convolution, where what is odd is padded at the end; [k, k, c, 1] kernels are depthwise."""
    size = kernel.shape[0]
    total = [max(0, (-(-side // stride) - 1) * stride + size - side) for side in x.shape[:2]]
    x = np.pad(x, [*((pad // 2, pad - pad // 2) for pad in total), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))[::stride, ::stride]
    if kernel.shape[-1] == 1:
        return np.einsum("yxcij,ijc->yxc", windows, kernel[..., 0], optimize=True)
    return np.einsum("yxcij,ijco->yxo", windows, kernel, optimize=True)

# %% formula
import keras
import numpy as np
import tensorflow as tf


def size(n, kernel, before, after, stride=1):
    return (n + before + after - kernel) // stride + 1


for n, kernel, before, after, stride in [(8, 3, 0, 0, 1), (8, 3, 1, 1, 1), (8, 3, 1, 1, 2), (8, 3, 0, 1, 2)]:
    print(f"{n=} {kernel=} {before=} {after=} {stride=}: {size(n, kernel, before, after, stride)}")

# %% shapes
examples = [  # kernel, padding on each side, stride
    [(3, 3), (1, 1), (1, 1)],
    [(5, 3), (2, 1), (1, 1)],
    [(3, 3), (1, 1), (2, 2)],
    [(3, 5), (0, 1), (3, 4)],
]
X8 = tf.reshape(tf.range(64.0), (1, 8, 8, 1))
shapes, by_formula = [], []
for kernel, padding, stride in examples:
    Y8 = keras.layers.Conv2D(1, kernel, strides=stride)(keras.layers.ZeroPadding2D(padding)(X8))
    shapes.append(tuple(Y8.shape[1:3]))
    by_formula.append(tuple(size(8, k, p, p, s) for k, p, s in zip(kernel, padding, stride)))
    print(f"{kernel=} {padding=} {stride=}: {shapes[-1]}, by the formula {by_formula[-1]}")

# %% full
x = tf.constant([[[1.0], [2.0], [3.0], [4.0], [5.0]]])
k = tf.constant([[[1.0]], [[2.0]], [[3.0]]])
valid = tf.nn.conv1d(x, k, 1, "VALID")[0, :, 0]
same = tf.nn.conv1d(x, k, 1, "SAME")[0, :, 0]
full = tf.nn.conv1d(tf.pad(x, [[0, 0], [2, 2], [0, 0]]), k, 1, "VALID")[0, :, 0]
print(valid, same, full, sep="\n")


# %% same-pads
def same_pads(n, kernel, stride):
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


pads = [same_pads(n, 3, 2) for n in (4, 5, 6, 7)]
print(pads)

# %% same-stride-2
X = tf.reshape(tf.range(16.0), (1, 4, 4, 1))
K = tf.ones((3, 3, 1, 1))
same_stride_2 = tf.nn.conv2d(X, K, 2, "SAME")[0, ..., 0]
padding_1 = tf.nn.conv2d(X, K, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])[0, ..., 0]
print(same_stride_2, padding_1, sep="\n")

# %% asymmetric
above_left = tf.nn.conv2d(X, K, 1, [[0, 0], [2, 0], [2, 0], [0, 0]])[0, ..., 0]
print(above_left)

# %% mirror
X_mirror = tf.pad(X, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
mirror_sums = tf.nn.conv2d(X_mirror, K, 1, "VALID")[0, ..., 0]
mirrored = X_mirror[0, ..., 0]
print(mirrored, mirror_sums, sep="\n")

# %% dropped
one_hot = tf.reshape(tf.eye(8), (8, 8, 1))
stride_3 = tf.nn.conv1d(one_hot, tf.ones((3, 1, 1)), 3, "VALID")[..., 0]
dropped = tf.where(tf.reduce_sum(stride_3, 1) == 0)[:, 0]
print(dropped)

# %% audio
seconds = np.arange(64) / 8000
low, high = (1000 * np.sin(2 * np.pi * hertz * seconds) for hertz in (250, 3500))
samples = tf.reshape(tf.constant(np.round(low + high), tf.float32), (1, -1, 1))
every_second = tf.nn.conv1d(samples, tf.constant([[[0.0]], [[1.0]], [[0.0]]]), 2, "VALID")[0, :, 0]
smoothed = tf.nn.conv1d(samples, tf.constant([[[0.25]], [[0.5]], [[0.25]]]), 2, "VALID")[0, :, 0]
print(every_second[:8], smoothed[:8], low[1:17:2].round(), sep="\n")

# %% darkening
counted = tf.nn.conv2d(tf.ones((1, 6, 6, 1)), K, 1, "SAME")[0, ..., 0]
print(counted / 9)

# %% border
paper = 1 - np.load("digits.npz")["images"][0]
page = tf.reshape(paper, (1, 28, 28, 1))
box = tf.ones((5, 5, 1, 1))
zeros_around = tf.nn.conv2d(page, box, 1, "SAME")[0, ..., 0] / 25
mirror_pad = tf.pad(page, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="REFLECT")
mirror_around = tf.nn.conv2d(mirror_pad, box, 1, "VALID")[0, ..., 0] / 25
counts = tf.nn.conv2d(tf.ones_like(page), box, 1, "SAME")[0, ..., 0]
pixels_only = tf.nn.conv2d(page, box, 1, "SAME")[0, ..., 0] / counts
for name, blurred in ("zeros", zeros_around), ("mirror", mirror_around), ("pixels only", pixels_only):
    print(f"{name}: the corner {blurred[0, 0]:.3f}, the top row {blurred[0, 14]:.3f}")

# %% multi-in
from functools import partial
from timeit import repeat

import keras
import tensorflow as tf

conv2d = partial(tf.nn.conv2d, strides=1, padding="VALID")
plane = tf.reshape(tf.range(9.0), (3, 3))
kernel = tf.constant([[0.0, 1.0], [2.0, 3.0]])
X = tf.stack([plane, plane + 1], axis=-1)[None]
K = tf.stack([kernel, kernel + 1], axis=-1)[..., None]
by_channel = [conv2d(X[..., c : c + 1], K[:, :, c : c + 1])[0, ..., 0] for c in range(2)]
added = by_channel[0] + by_channel[1]
multi_in = conv2d(X, K)[0, ..., 0]
print(*by_channel, added, sep="\n")
print(multi_in)

# %% multi-out
K3 = tf.concat([K, K + 1, K + 2], axis=-1)
multi_out = tf.transpose(conv2d(X, K3)[0], (2, 0, 1))
print(K3.shape, multi_out, sep="\n")

# %% pointwise
image = tf.transpose(tf.reshape(tf.range(60.0), (1, 3, 4, 5)), (0, 2, 3, 1))
W = tf.constant([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])
by_conv = tf.transpose(conv2d(image, tf.reshape(tf.transpose(W), (1, 1, 3, 2)))[0], (2, 0, 1))
by_matrix = tf.reshape(tf.transpose(tf.reshape(image, (-1, 3)) @ tf.transpose(W)), (2, 4, 5))
print(by_matrix)
pointwise_is_matrix = tf.reduce_all(by_conv == by_matrix)
print(pointwise_is_matrix)

# %% im2col
columns = tf.reshape(tf.image.extract_patches(X, [1, 2, 2, 1], [1, 1, 1, 1], [1, 1, 1, 1], "VALID"), (4, 8))
by_columns = tf.transpose(tf.reshape(columns @ tf.reshape(K3, (8, 3)), (2, 2, 3)), (2, 0, 1))
print(columns)
columns_are_conv = tf.reduce_all(by_columns == multi_out)
print(columns_are_conv)


# %% toeplitz
def toeplitz(K, h, w):
    kh, kw = K.shape
    T = []
    for i in range(h - kh + 1):
        for j in range(w - kw + 1):
            T.append(tf.pad(K, [[i, h - kh - i], [j, w - kw - j]]))
    return tf.reshape(tf.stack(T), (-1, h * w))


T = toeplitz(kernel + 1, 3, 3)
by_toeplitz = tf.reshape(tf.linalg.matvec(T, tf.reshape(plane, (9,))), (2, 2))
slid = conv2d(plane[None, ..., None], (kernel + 1)[..., None, None])[0, ..., 0]
T_large = toeplitz(plane + 1, 6, 6)
print(T, by_toeplitz, sep="\n")
toeplitz_is_conv = tf.reduce_all(by_toeplitz == slid)
print(toeplitz_is_conv)

# %% groups
X4 = tf.transpose(tf.reshape(tf.range(100.0) % 7, (1, 4, 5, 5)), (0, 2, 3, 1))
K_groups = tf.transpose(tf.reshape(tf.range(108.0) % 5 - 2, (6, 2, 3, 3)), (2, 3, 1, 0))
grouped = tf.transpose(conv2d(X4, K_groups)[0], (2, 0, 1))
in_parts = tf.concat([conv2d(X4[..., :2], K_groups[..., :3]), conv2d(X4[..., 2:], K_groups[..., 3:])], -1)
in_parts = tf.transpose(in_parts[0], (2, 0, 1))
groups_are_parts = tf.reduce_all(grouped == in_parts)
print(grouped.shape, groups_are_parts)

# %% depthwise
K_depthwise = tf.transpose(tf.reshape(tf.range(72.0) % 5 - 2, (4, 2, 3, 3)), (2, 3, 0, 1))
depthwise = tf.transpose(tf.nn.depthwise_conv2d(X4, K_depthwise, [1, 1, 1, 1], "VALID")[0], (2, 0, 1))
alone = tf.concat([conv2d(X4[..., c : c + 1], K_depthwise[:, :, c : c + 1]) for c in range(4)], -1)
alone = tf.transpose(alone[0], (2, 0, 1))
depthwise_is_alone = tf.reduce_all(depthwise == alone)
print(depthwise.shape, depthwise_is_alone)

# %% cost
height, width, channels = 56, 56, 64
kinds = {  # channels in, channels out, kernel, groups of each layer
    "full 3x3": [(channels, channels, 3, 1)],
    "3x3, 4 groups": [(channels, channels, 3, 4)],
    "3x3, depthwise": [(channels, channels, 3, channels)],
    "1x1": [(channels, channels, 1, 1)],
    "depthwise, then 1x1": [(channels, channels, 3, channels), (channels, channels, 1, 1)],
}


def count_parameters(layers):
    return sum(c_out * (c_in // groups) * k * k for c_in, c_out, k, groups in layers)


parameters = [count_parameters(layers) for layers in kinds.values()]
multiply_adds = [height * width * count for count in parameters]
for name, weights, products in zip(kinds, parameters, multiply_adds):
    print(f"{name:20}{weights:8,} parameters{products:14,} multiply-adds")


# %% time
def layer(c_in, c_out, k, groups):
    if groups == c_in == c_out:
        return keras.layers.DepthwiseConv2D(k, padding="same", use_bias=False)
    return keras.layers.Conv2D(c_out, k, padding="same", groups=groups, use_bias=False)


photo = tf.ones((1, height, width, channels))
counted = []
for (name, layers), products in zip(kinds.items(), multiply_adds):
    net = keras.Sequential([keras.Input(photo.shape[1:]), *[layer(*sizes) for sizes in layers]])
    counted.append(net.count_params())
    seconds = min(repeat(partial(tf.function(net), photo), number=1, repeat=7))
    print(f"{name:20}{seconds * 1e3:8.2f} ms{products / seconds / 1e9:8.1f} billion multiply-adds per second")

# %% block-diagonal
K_first = tf.pad(K_groups[..., :3], [[0, 0], [0, 0], [0, 2], [0, 0]])
K_second = tf.pad(K_groups[..., 3:], [[0, 0], [0, 0], [2, 0], [0, 0]])
K_full = tf.concat([K_first, K_second], axis=-1)
block_diagonal = tf.transpose(conv2d(X4, K_full)[0], (2, 0, 1))
groups_are_blocks = tf.reduce_all(block_diagonal == grouped)
print(groups_are_blocks)

# %% separable
D = tf.transpose(tf.reshape(tf.range(36.0) % 5 - 2, (4, 1, 3, 3)), (2, 3, 0, 1))
P = tf.reshape(tf.transpose(tf.reshape(tf.range(-12.0, 12.0), (6, 4))), (1, 1, 4, 6))
separable = tf.transpose(tf.nn.separable_conv2d(X4, D, P, [1, 1, 1, 1], "VALID")[0], (2, 0, 1))
K_one = D * P
one_kernel = tf.transpose(conv2d(X4, K_one)[0], (2, 0, 1))
separable_is_one = tf.reduce_all(separable == one_kernel)
print(K_one.shape, separable_is_one)

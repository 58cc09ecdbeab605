# %% multi-in
from functools import partial
from timeit import repeat

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def conv2d(X, K):
    windows = sliding_window_view(X, K.shape[2:], axis=(1, 2))
    return np.tensordot(K, windows, ((1, 2, 3), (0, 3, 4)))


plane = np.arange(9, dtype="float32").reshape(3, 3)
kernel = np.array([[0.0, 1.0], [2.0, 3.0]], dtype="float32")
X = np.stack([plane, plane + 1])
K = np.stack([kernel, kernel + 1])[None]
by_channel = [conv2d(X[c : c + 1], K[:, c : c + 1])[0] for c in range(2)]
added = by_channel[0] + by_channel[1]
multi_in = conv2d(X, K)[0]
print(*by_channel, added, sep="\n")
print(multi_in)

# %% multi-out
K3 = np.concatenate([K, K + 1, K + 2])
multi_out = conv2d(X, K3)
print(K3.shape, multi_out, sep="\n")

# %% pointwise
image = np.arange(60, dtype="float32").reshape(3, 4, 5)
W = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]], dtype="float32")
by_conv = conv2d(image, W.reshape(2, 3, 1, 1))
by_matrix = (W @ image.reshape(3, -1)).reshape(2, 4, 5)
print(by_matrix)
pointwise_is_matrix = np.array_equal(by_conv, by_matrix)
print(pointwise_is_matrix)

# %% im2col
columns = sliding_window_view(X, (2, 2), axis=(1, 2)).transpose(0, 3, 4, 1, 2).reshape(8, 4)
by_columns = (K3.reshape(3, 8) @ columns).reshape(3, 2, 2)
print(columns)
columns_are_conv = np.array_equal(by_columns, multi_out)
print(columns_are_conv)


# %% toeplitz
def toeplitz(K, h, w):
    kh, kw = K.shape
    T = np.zeros((h - kh + 1, w - kw + 1, h, w), dtype="float32")
    for i in range(h - kh + 1):
        for j in range(w - kw + 1):
            T[i, j, i : i + kh, j : j + kw] = K
    return T.reshape(-1, h * w)


T = toeplitz(kernel + 1, 3, 3)
by_toeplitz = (T @ plane.reshape(9)).reshape(2, 2)
slid = conv2d(plane[None], (kernel + 1)[None, None])[0]
T_large = toeplitz(plane + 1, 6, 6)
print(T, by_toeplitz, sep="\n")
toeplitz_is_conv = np.array_equal(by_toeplitz, slid)
print(toeplitz_is_conv)


# %% groups
def grouped_conv2d(X, K, groups):
    return np.concatenate([conv2d(x, k) for x, k in zip(np.split(X, groups), np.split(K, groups))])


X4 = (np.arange(100, dtype="float32") % 7).reshape(4, 5, 5)
K_groups = (np.arange(108, dtype="float32") % 5 - 2).reshape(6, 2, 3, 3)
grouped = grouped_conv2d(X4, K_groups, 2)
in_parts = np.concatenate([conv2d(X4[:2], K_groups[:3]), conv2d(X4[2:], K_groups[3:])])
groups_are_parts = np.array_equal(grouped, in_parts)
print(grouped.shape, groups_are_parts)

# %% depthwise
K_depthwise = (np.arange(72, dtype="float32") % 5 - 2).reshape(8, 1, 3, 3)
depthwise = grouped_conv2d(X4, K_depthwise, 4)
alone = np.concatenate([conv2d(X4[c : c + 1], K_depthwise[2 * c : 2 * c + 2]) for c in range(4)])
depthwise_is_alone = np.array_equal(depthwise, alone)
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
def run(kernels, X):
    for K, groups in kernels:
        margin = K.shape[-1] // 2
        X = grouped_conv2d(np.pad(X, ((0, 0), (margin, margin), (margin, margin))), K, groups)
    return X


photo = np.ones((channels, height, width), dtype="float32")
counted = []
for (name, layers), products in zip(kinds.items(), multiply_adds):
    net = [(np.ones((c_out, c_in // groups, k, k), "float32"), groups) for c_in, c_out, k, groups in layers]
    counted.append(sum(K.size for K, _ in net))
    seconds = min(repeat(partial(run, net, photo), number=1, repeat=7))
    print(f"{name:20}{seconds * 1e3:8.2f} ms{products / seconds / 1e9:8.1f} billion multiply-adds per second")

# %% block-diagonal
K_full = np.zeros((6, 4, 3, 3), dtype="float32")
K_full[:3, :2] = K_groups[:3]
K_full[3:, 2:] = K_groups[3:]
block_diagonal = conv2d(X4, K_full)
groups_are_blocks = np.array_equal(block_diagonal, grouped)
print(groups_are_blocks)

# %% separable
D = K_depthwise[:4]
P = np.arange(-12, 12, dtype="float32").reshape(6, 4)
separable = conv2d(grouped_conv2d(X4, D, 4), P.reshape(6, 4, 1, 1))
K_one = P.reshape(6, 4, 1, 1) * D.reshape(1, 4, 3, 3)
one_kernel = conv2d(X4, K_one)
separable_is_one = np.array_equal(separable, one_kernel)
print(K_one.shape, separable_is_one)

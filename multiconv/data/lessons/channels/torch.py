# %% multi-in
from functools import partial
from timeit import repeat

import torch
from torch import nn
from torch.nn.functional import conv2d, unfold

plane = torch.arange(9.0).reshape(3, 3)
kernel = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
X = torch.stack([plane, plane + 1])[None]
K = torch.stack([kernel, kernel + 1])[None]
by_channel = [conv2d(X[:, c : c + 1], K[:, c : c + 1])[0, 0] for c in range(2)]
added = by_channel[0] + by_channel[1]
multi_in = conv2d(X, K)[0, 0]
print(*by_channel, added, sep="\n")
print(multi_in)

# %% multi-out
K3 = torch.cat([K, K + 1, K + 2])
multi_out = conv2d(X, K3)[0]
print(K3.shape, multi_out, sep="\n")

# %% pointwise
image = torch.arange(60.0).reshape(1, 3, 4, 5)
W = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])
by_conv = conv2d(image, W.reshape(2, 3, 1, 1))[0]
by_matrix = (W @ image.reshape(3, -1)).reshape(2, 4, 5)
print(by_matrix)
pointwise_is_matrix = torch.equal(by_conv, by_matrix)
print(pointwise_is_matrix)

# %% im2col
columns = unfold(X, (2, 2))[0]
by_columns = (K3.reshape(3, 8) @ columns).reshape(3, 2, 2)
print(columns)
columns_are_conv = torch.equal(by_columns, multi_out)
print(columns_are_conv)


# %% toeplitz
def toeplitz(K, h, w):
    kh, kw = K.shape
    T = torch.zeros(h - kh + 1, w - kw + 1, h, w)
    for i in range(h - kh + 1):
        for j in range(w - kw + 1):
            T[i, j, i : i + kh, j : j + kw] = K
    return T.reshape(-1, h * w)


T = toeplitz(kernel + 1, 3, 3)
by_toeplitz = (T @ plane.reshape(9)).reshape(2, 2)
slid = conv2d(plane[None, None], (kernel + 1)[None, None])[0, 0]
T_large = toeplitz(plane + 1, 6, 6)
print(T, by_toeplitz, sep="\n")
toeplitz_is_conv = torch.equal(by_toeplitz, slid)
print(toeplitz_is_conv)

# %% groups
X4 = (torch.arange(100.0) % 7).reshape(1, 4, 5, 5)
K_groups = (torch.arange(108.0) % 5 - 2).reshape(6, 2, 3, 3)
grouped = conv2d(X4, K_groups, groups=2)[0]
in_parts = torch.cat([conv2d(X4[:, :2], K_groups[:3]), conv2d(X4[:, 2:], K_groups[3:])], 1)[0]
groups_are_parts = torch.equal(grouped, in_parts)
print(grouped.shape, groups_are_parts)

# %% depthwise
K_depthwise = (torch.arange(72.0) % 5 - 2).reshape(8, 1, 3, 3)
depthwise = conv2d(X4, K_depthwise, groups=4)[0]
alone = torch.cat([conv2d(X4[:, c : c + 1], K_depthwise[2 * c : 2 * c + 2]) for c in range(4)], 1)[0]
depthwise_is_alone = torch.equal(depthwise, alone)
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
@torch.inference_mode()
def run(net, X):
    return net(X)


photo = torch.ones(1, channels, height, width)
counted = []
for (name, layers), products in zip(kinds.items(), multiply_adds):
    net = nn.Sequential(
        *[nn.Conv2d(c_in, c_out, k, padding="same", groups=groups, bias=False) for c_in, c_out, k, groups in layers]
    )
    counted.append(sum(K.numel() for K in net.parameters()))
    seconds = min(repeat(partial(run, net, photo), number=1, repeat=7))
    print(f"{name:20}{seconds * 1e3:8.2f} ms{products / seconds / 1e9:8.1f} billion multiply-adds per second")

# %% block-diagonal
K_full = torch.zeros(6, 4, 3, 3)
K_full[:3, :2] = K_groups[:3]
K_full[3:, 2:] = K_groups[3:]
block_diagonal = conv2d(X4, K_full)[0]
groups_are_blocks = torch.equal(block_diagonal, grouped)
print(groups_are_blocks)

# %% separable
D = K_depthwise[:4]
P = torch.arange(-12.0, 12.0).reshape(6, 4)
separable = conv2d(conv2d(X4, D, groups=4), P.reshape(6, 4, 1, 1))[0]
K_one = P.reshape(6, 4, 1, 1) * D.reshape(1, 4, 3, 3)
one_kernel = conv2d(X4, K_one)[0]
separable_is_one = torch.equal(separable, one_kernel)
print(K_one.shape, separable_is_one)

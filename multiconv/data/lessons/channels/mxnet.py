# %% multi-in
from functools import partial
from timeit import repeat

from mxnet import nd
from mxnet.gluon import nn


def conv2d(X, K, groups=1):
    return nd.Convolution(X, K, no_bias=True, num_filter=K.shape[0], kernel=K.shape[2:], num_group=groups)


plane = nd.arange(9).reshape((3, 3))
kernel = nd.array([[0.0, 1.0], [2.0, 3.0]])
X = nd.stack(plane, plane + 1).expand_dims(0)
K = nd.stack(kernel, kernel + 1).expand_dims(0)
by_channel = [conv2d(X[:, c : c + 1], K[:, c : c + 1])[0, 0] for c in range(2)]
added = by_channel[0] + by_channel[1]
multi_in = conv2d(X, K)[0, 0]
print(*by_channel, added, sep="\n")
print(multi_in)

# %% multi-out
K3 = nd.concat(K, K + 1, K + 2, dim=0)
multi_out = conv2d(X, K3)[0]
print(K3.shape, multi_out, sep="\n")

# %% pointwise
image = nd.arange(60).reshape((1, 3, 4, 5))
W = nd.array([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])
by_conv = conv2d(image, W.reshape((2, 3, 1, 1)))[0]
by_matrix = nd.dot(W, image.reshape((3, -1))).reshape((2, 4, 5))
print(by_matrix)
pointwise_is_matrix = (by_conv == by_matrix).min().asscalar()
print(pointwise_is_matrix)

# %% im2col
columns = nd.im2col(X, kernel=(2, 2))[0]
by_columns = nd.dot(K3.reshape((3, 8)), columns).reshape((3, 2, 2))
print(columns)
columns_are_conv = (by_columns == multi_out).min().asscalar()
print(columns_are_conv)


# %% toeplitz
def toeplitz(K, h, w):
    kh, kw = K.shape
    T = nd.zeros((h - kh + 1, w - kw + 1, h, w))
    for i in range(h - kh + 1):
        for j in range(w - kw + 1):
            T[i, j, i : i + kh, j : j + kw] = K
    return T.reshape((-1, h * w))


T = toeplitz(kernel + 1, 3, 3)
by_toeplitz = nd.dot(T, plane.reshape(9)).reshape((2, 2))
slid = conv2d(plane.reshape((1, 1, 3, 3)), (kernel + 1).reshape((1, 1, 2, 2)))[0, 0]
T_large = toeplitz(plane + 1, 6, 6)
print(T, by_toeplitz, sep="\n")
toeplitz_is_conv = (by_toeplitz == slid).min().asscalar()
print(toeplitz_is_conv)

# %% groups
X4 = (nd.arange(100) % 7).reshape((1, 4, 5, 5))
K_groups = (nd.arange(108) % 5 - 2).reshape((6, 2, 3, 3))
grouped = conv2d(X4, K_groups, groups=2)[0]
in_parts = nd.concat(conv2d(X4[:, :2], K_groups[:3]), conv2d(X4[:, 2:], K_groups[3:]), dim=1)[0]
groups_are_parts = (grouped == in_parts).min().asscalar()
print(grouped.shape, groups_are_parts)

# %% depthwise
K_depthwise = (nd.arange(72) % 5 - 2).reshape((8, 1, 3, 3))
depthwise = conv2d(X4, K_depthwise, groups=4)[0]
alone = nd.concat(*[conv2d(X4[:, c : c + 1], K_depthwise[2 * c : 2 * c + 2]) for c in range(4)], dim=1)[0]
depthwise_is_alone = (depthwise == alone).min().asscalar()
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
def run(net, X):
    net(X).wait_to_read()


photo = nd.ones((1, channels, height, width))
counted = []
for (name, layers), products in zip(kinds.items(), multiply_adds):
    net = nn.HybridSequential()
    for c_in, c_out, k, groups in layers:
        net.add(nn.Conv2D(c_out, k, padding=k // 2, groups=groups, use_bias=False, in_channels=c_in))
    net.initialize()
    net.hybridize()
    counted.append(sum(K.data().size for K in net.collect_params().values()))
    seconds = min(repeat(partial(run, net, photo), number=1, repeat=7))
    print(f"{name:20}{seconds * 1e3:8.2f} ms{products / seconds / 1e9:8.1f} billion multiply-adds per second")

# %% block-diagonal
K_full = nd.zeros((6, 4, 3, 3))
K_full[:3, :2] = K_groups[:3]
K_full[3:, 2:] = K_groups[3:]
block_diagonal = conv2d(X4, K_full)[0]
groups_are_blocks = (block_diagonal == grouped).min().asscalar()
print(groups_are_blocks)

# %% separable
D = K_depthwise[:4]
P = nd.arange(-12, 12).reshape((6, 4))
separable = conv2d(conv2d(X4, D, groups=4), P.reshape((6, 4, 1, 1)))[0]
K_one = P.reshape((6, 4, 1, 1)) * D.reshape((1, 4, 3, 3))
one_kernel = conv2d(X4, K_one)[0]
separable_is_one = (separable == one_kernel).min().asscalar()
print(K_one.shape, separable_is_one)

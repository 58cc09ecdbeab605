# %% multi-in
from functools import partial
from timeit import repeat

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

conv2d = partial(lax.conv_general_dilated, window_strides=(1, 1), padding="VALID")
plane = jnp.arange(9.0).reshape(3, 3)
kernel = jnp.array([[0.0, 1.0], [2.0, 3.0]])
X = jnp.stack([plane, plane + 1])[None]
K = jnp.stack([kernel, kernel + 1])[None]
by_channel = [conv2d(X[:, c : c + 1], K[:, c : c + 1])[0, 0] for c in range(2)]
added = by_channel[0] + by_channel[1]
multi_in = conv2d(X, K)[0, 0]
print(*by_channel, added, sep="\n")
print(multi_in)

# %% multi-out
K3 = jnp.concatenate([K, K + 1, K + 2])
multi_out = conv2d(X, K3)[0]
print(K3.shape, multi_out, sep="\n")

# %% pointwise
image = jnp.arange(60.0).reshape(1, 3, 4, 5)
W = jnp.array([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])
by_conv = conv2d(image, W.reshape(2, 3, 1, 1))[0]
by_matrix = (W @ image.reshape(3, -1)).reshape(2, 4, 5)
print(by_matrix)
pointwise_is_matrix = jnp.array_equal(by_conv, by_matrix)
print(pointwise_is_matrix)

# %% im2col
columns = lax.conv_general_dilated_patches(X, (2, 2), (1, 1), "VALID")[0].reshape(8, 4)
by_columns = (K3.reshape(3, 8) @ columns).reshape(3, 2, 2)
print(columns)
columns_are_conv = jnp.array_equal(by_columns, multi_out)
print(columns_are_conv)


# %% toeplitz
def toeplitz(K, h, w):
    kh, kw = K.shape
    T = jnp.zeros((h - kh + 1, w - kw + 1, h, w))
    for i in range(h - kh + 1):
        for j in range(w - kw + 1):
            T = T.at[i, j, i : i + kh, j : j + kw].set(K)
    return T.reshape(-1, h * w)


T = toeplitz(kernel + 1, 3, 3)
by_toeplitz = (T @ plane.reshape(9)).reshape(2, 2)
slid = conv2d(plane[None, None], (kernel + 1)[None, None])[0, 0]
T_large = toeplitz(plane + 1, 6, 6)
print(T, by_toeplitz, sep="\n")
toeplitz_is_conv = jnp.array_equal(by_toeplitz, slid)
print(toeplitz_is_conv)

# %% groups
X4 = (jnp.arange(100.0) % 7).reshape(1, 4, 5, 5)
K_groups = (jnp.arange(108.0) % 5 - 2).reshape(6, 2, 3, 3)
grouped = conv2d(X4, K_groups, feature_group_count=2)[0]
in_parts = jnp.concatenate([conv2d(X4[:, :2], K_groups[:3]), conv2d(X4[:, 2:], K_groups[3:])], 1)[0]
groups_are_parts = jnp.array_equal(grouped, in_parts)
print(grouped.shape, groups_are_parts)

# %% depthwise
K_depthwise = (jnp.arange(72.0) % 5 - 2).reshape(8, 1, 3, 3)
depthwise = conv2d(X4, K_depthwise, feature_group_count=4)[0]
alone = jnp.concatenate([conv2d(X4[:, c : c + 1], K_depthwise[2 * c : 2 * c + 2]) for c in range(4)], 1)[0]
depthwise_is_alone = jnp.array_equal(depthwise, alone)
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
@nnx.jit
def forward(net, X):
    return net(X)


def run(net, X):
    return forward(net, X).block_until_ready()


photo = jnp.ones((1, height, width, channels))
counted = []
for (name, layers), products in zip(kinds.items(), multiply_adds):
    rngs = nnx.Rngs(0)
    net = nnx.Sequential(
        *[
            nnx.Conv(c_in, c_out, (k, k), feature_group_count=groups, use_bias=False, rngs=rngs)
            for c_in, c_out, k, groups in layers
        ]
    )
    counted.append(sum(K.size for K in jax.tree.leaves(nnx.state(net, nnx.Param))))
    seconds = min(repeat(partial(run, net, photo), number=1, repeat=7))
    print(f"{name:20}{seconds * 1e3:8.2f} ms{products / seconds / 1e9:8.1f} billion multiply-adds per second")

# %% block-diagonal
K_full = jnp.zeros((6, 4, 3, 3))
K_full = K_full.at[:3, :2].set(K_groups[:3])
K_full = K_full.at[3:, 2:].set(K_groups[3:])
block_diagonal = conv2d(X4, K_full)[0]
groups_are_blocks = jnp.array_equal(block_diagonal, grouped)
print(groups_are_blocks)

# %% separable
D = K_depthwise[:4]
P = jnp.arange(-12.0, 12.0).reshape(6, 4)
separable = conv2d(conv2d(X4, D, feature_group_count=4), P.reshape(6, 4, 1, 1))[0]
K_one = P.reshape(6, 4, 1, 1) * D.reshape(1, 4, 3, 3)
one_kernel = conv2d(X4, K_one)[0]
separable_is_one = jnp.array_equal(separable, one_kernel)
print(K_one.shape, separable_is_one)

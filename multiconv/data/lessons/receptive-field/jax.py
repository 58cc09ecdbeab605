# %% feature-maps
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

last = ("NHWC", "HWIO", "NHWC")
conv2d = partial(lax.conv_general_dilated, window_strides=(1, 1), padding="VALID", dimension_numbers=last)
ink = jnp.asarray(np.load("digits.npz")["images"][0] > 0.5, "float32")
sobel = jnp.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
edges = jnp.stack([sobel, -sobel, sobel.T, -sobel.T], axis=-1)[:, :, None]
maps = jax.nn.relu(conv2d(ink.reshape(1, 28, 28, 1), edges))
summary = conv2d(maps, jnp.ones((3, 3, 4, 1)), window_strides=(2, 2))
right, left, bottom, top = jnp.unstack(maps[0], axis=-1)
outline = summary[0, ..., 0]
print(maps.shape, summary.shape)


# %% recursion
def receptive_field(layers):
    size, step = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * dilation * step
        step *= stride
    return size, step


stacks = {  # kernel, stride, dilation of each layer
    "three of 3x3": [(3, 1, 1)] * 3,
    "one of 7x7": [(7, 1, 1)],
    "stride 2, 2, 2": [(3, 2, 1)] * 3,
    "dilation 1, 2, 4": [(3, 1, 1), (3, 1, 2), (3, 1, 4)],
    "dilation 2, 2, 2": [(3, 1, 2)] * 3,
}
by_formula = [receptive_field(layers) for layers in stacks.values()]
for name, (size, step) in zip(stacks, by_formula):
    print(f"{name:17} sees {size}x{size}, neighbours {step} apart")


# %% perturb
def stack(layers):
    options = {"padding": "VALID", "use_bias": False, "kernel_init": nnx.initializers.ones, "rngs": nnx.Rngs(0)}
    net = []
    for kernel, stride, dilation in layers:
        net.append(nnx.Conv(1, 1, (kernel, kernel), stride, kernel_dilation=dilation, **options))
    return nnx.Sequential(*net)


def influence(net, size=31):
    X = jnp.ones((1, size, size, 1))
    each_pixel = jnp.eye(size * size).reshape(-1, size, size, 1)
    change = net(X + each_pixel) - net(X)
    centre = change.shape[1] // 2
    return change[:, centre, centre, 0].reshape(size, size)


fields = [influence(stack(layers)) for layers in stacks.values()]
three_3x3, one_7x7, strided, dilated, gaps = fields
sides, pixels = [], []
for name, field in zip(stacks, fields):
    rows = jnp.flatnonzero(field.sum(1))
    sides.append(rows[-1] - rows[0] + 1)
    pixels.append(jnp.count_nonzero(field))
    print(f"{name:17} sees {pixels[-1]} pixels in {sides[-1]}x{sides[-1]}")

# %% stride-or-dilation
sees_the_same = jnp.array_equal(strided, dilated)
image = jnp.ones((1, 31, 31, 1))
print(sees_the_same)
for name in ("stride 2, 2, 2", "dilation 1, 2, 4"):
    print(f"{name}: {stack(stacks[name])(image).shape}")

# %% three-as-one
kernels = (jnp.arange(27.0) % 4 + 1).reshape(3, 3, 3, 1, 1)
texture = (jnp.arange(31.0 * 31) % 5).reshape(1, 31, 31, 1)


def three(X):
    return conv2d(conv2d(conv2d(X, kernels[0]), kernels[1]), kernels[2])


kernel_7x7 = influence(three)[12:19, 12:19]
by_three = three(texture).reshape(1, 1, 25, 25)
by_one = conv2d(texture, kernel_7x7.reshape(7, 7, 1, 1)).reshape(1, 1, 25, 25)
three_are_one = jnp.array_equal(by_three, by_one)
print(kernel_7x7)
print(three_are_one)

# %% known-nets
vgg, vgg16 = [], []
for convolutions in (2, 2, 3, 3, 3):
    vgg += [(3, 1, 1)] * convolutions + [(2, 2, 1)]
    vgg16.append(receptive_field(vgg)[0])
alexnet = receptive_field([(11, 4, 1), (3, 2, 1), (5, 1, 1), (3, 2, 1), *[(3, 1, 1)] * 3, (3, 2, 1)])[0]
print(vgg16, alexnet)


# %% gradient
def gradient(layers, size=31):
    def centre_of(X):
        Y = stack(layers)(X)
        return Y[0, Y.shape[1] // 2, Y.shape[2] // 2, 0]

    return jax.grad(centre_of)(jnp.ones((1, size, size, 1)))[0, ..., 0]


gradients = [gradient(layers) for layers in stacks.values()]
gradient_is_influence = jnp.array_equal(jnp.stack(gradients), jnp.stack(fields))
print(gradient_is_influence)

# %% effective
five_3x3 = influence(stack([(3, 1, 1)] * 5))
middle_row = five_3x3[15, 10:21]
central, total = five_3x3[13:18, 13:18].sum(), five_3x3.sum()
print(middle_row)
print(f"the central 5x5 have {central / total:.1%} of the influence, and {25 / 121:.1%} of the pixels")


# %% depth
def layers_needed(size, layer):
    layers = []
    while receptive_field(layers)[0] < size:
        layers.append(layer(len(layers)))
    return len(layers)


needed = [
    layers_needed(28, lambda n: (3, 1, 1)),
    layers_needed(28, lambda n: (3, 2, 1)),
    layers_needed(28, lambda n: (3, 1, 2**n)),
]
print(needed)

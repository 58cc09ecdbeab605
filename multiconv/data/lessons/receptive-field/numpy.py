# %% feature-maps
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def conv2d(X, K, stride=1, dilation=1):
    reach = (K.shape[-1] - 1) * dilation + 1
    windows = sliding_window_view(X, (reach, reach), axis=(2, 3))
    return np.einsum("ncijab,ocab->noij", windows[:, :, ::stride, ::stride, ::dilation, ::dilation], K)


ink = (np.load("digits.npz")["images"][0] > 0.5).astype("float32")
sobel = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype="float32")
edges = np.stack([sobel, -sobel, sobel.T, -sobel.T])[:, None]
maps = np.maximum(conv2d(ink.reshape(1, 1, 28, 28), edges), 0)
summary = conv2d(maps, np.ones((1, 4, 3, 3), "float32"), stride=2)
right, left, bottom, top = maps[0]
outline = summary[0, 0]
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
    def net(X):
        for kernel, stride, dilation in layers:
            X = conv2d(X, np.ones((1, 1, kernel, kernel), "float32"), stride, dilation)
        return X

    return net


def influence(net, size=31):
    X = np.ones((1, 1, size, size), dtype="float32")
    each_pixel = np.eye(size * size, dtype="float32").reshape(-1, 1, size, size)
    change = net(X + each_pixel) - net(X)
    centre = change.shape[-1] // 2
    return change[:, 0, centre, centre].reshape(size, size)


fields = [influence(stack(layers)) for layers in stacks.values()]
three_3x3, one_7x7, strided, dilated, gaps = fields
sides, pixels = [], []
for name, field in zip(stacks, fields):
    rows = np.flatnonzero(field.sum(1))
    sides.append(rows[-1] - rows[0] + 1)
    pixels.append(np.count_nonzero(field))
    print(f"{name:17} sees {pixels[-1]} pixels in {sides[-1]}x{sides[-1]}")

# %% stride-or-dilation
sees_the_same = np.array_equal(strided, dilated)
image = np.ones((1, 1, 31, 31), dtype="float32")
print(sees_the_same)
for name in ("stride 2, 2, 2", "dilation 1, 2, 4"):
    print(f"{name}: {stack(stacks[name])(image).shape}")

# %% three-as-one
kernels = (np.arange(27, dtype="float32") % 4 + 1).reshape(3, 1, 1, 3, 3)
texture = (np.arange(31 * 31, dtype="float32") % 5).reshape(1, 1, 31, 31)


def three(X):
    return conv2d(conv2d(conv2d(X, kernels[0]), kernels[1]), kernels[2])


kernel_7x7 = influence(three)[12:19, 12:19]
by_three = three(texture)
by_one = conv2d(texture, kernel_7x7.reshape(1, 1, 7, 7))
three_are_one = np.array_equal(by_three, by_one)
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
    sizes = [size]
    for kernel, stride, dilation in layers:
        sizes.append((sizes[-1] - (kernel - 1) * dilation - 1) // stride + 1)
    g = np.zeros((sizes[-1], sizes[-1]), dtype="float32")
    g[sizes[-1] // 2, sizes[-1] // 2] = 1
    for (kernel, stride, dilation), n_in, n_out in reversed(list(zip(layers, sizes, sizes[1:]))):
        dX = np.zeros((n_in, n_in), dtype="float32")
        last = (n_out - 1) * stride + 1
        for a in range(0, kernel * dilation, dilation):
            for b in range(0, kernel * dilation, dilation):
                dX[a : a + last : stride, b : b + last : stride] += g
        g = dX
    return g


gradients = [gradient(layers) for layers in stacks.values()]
gradient_is_influence = np.array_equal(gradients, fields)
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

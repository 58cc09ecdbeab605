# %% feature-maps
import numpy as np
import torch
from torch import nn
from torch.nn.functional import conv2d, relu

ink = torch.from_numpy((np.load("digits.npz")["images"][0] > 0.5).astype("float32"))
sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
edges = torch.stack([sobel, -sobel, sobel.T, -sobel.T])[:, None]
maps = relu(conv2d(ink.reshape(1, 1, 28, 28), edges))
summary = conv2d(maps, torch.ones(1, 4, 3, 3), stride=2)
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
    net = nn.Sequential()
    for kernel, stride, dilation in layers:
        net.append(nn.Conv2d(1, 1, kernel, stride, dilation=dilation, bias=False))
        nn.init.ones_(net[-1].weight)
    return net.requires_grad_(False)


def influence(net, size=31):
    X = torch.ones(1, 1, size, size)
    each_pixel = torch.eye(size * size).reshape(-1, 1, size, size)
    change = net(X + each_pixel) - net(X)
    centre = change.shape[-1] // 2
    return change[:, 0, centre, centre].reshape(size, size)


fields = [influence(stack(layers)) for layers in stacks.values()]
three_3x3, one_7x7, strided, dilated, gaps = fields
sides, pixels = [], []
for name, field in zip(stacks, fields):
    rows = field.sum(1).nonzero()[:, 0].tolist()
    sides.append(rows[-1] - rows[0] + 1)
    pixels.append(field.count_nonzero().item())
    print(f"{name:17} sees {pixels[-1]} pixels in {sides[-1]}x{sides[-1]}")

# %% stride-or-dilation
sees_the_same = torch.equal(strided, dilated)
image = torch.ones(1, 1, 31, 31)
print(sees_the_same)
for name in ("stride 2, 2, 2", "dilation 1, 2, 4"):
    print(f"{name}: {tuple(stack(stacks[name])(image).shape)}")

# %% three-as-one
kernels = (torch.arange(27.0) % 4 + 1).reshape(3, 1, 1, 3, 3)
texture = (torch.arange(31.0 * 31) % 5).reshape(1, 1, 31, 31)


def three(X):
    return conv2d(conv2d(conv2d(X, kernels[0]), kernels[1]), kernels[2])


kernel_7x7 = influence(three)[12:19, 12:19]
by_three = three(texture)
by_one = conv2d(texture, kernel_7x7.reshape(1, 1, 7, 7))
three_are_one = torch.equal(by_three, by_one)
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
    X = torch.ones(1, 1, size, size, requires_grad=True)
    Y = stack(layers)(X)
    centre = Y.shape[-1] // 2
    Y[0, 0, centre, centre].backward()
    return X.grad[0, 0]


gradients = [gradient(layers) for layers in stacks.values()]
gradient_is_influence = torch.equal(torch.stack(gradients), torch.stack(fields))
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

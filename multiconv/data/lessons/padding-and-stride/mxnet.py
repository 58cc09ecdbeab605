# %% formula
import numpy as np
from mxnet import nd
from mxnet.gluon import nn


def size(n, kernel, before, after, stride=1):
    return (n + before + after - kernel) // stride + 1


for n, kernel, before, after, stride in [(8, 3, 0, 0, 1), (8, 3, 1, 1, 1), (8, 3, 1, 1, 2), (8, 3, 0, 1, 2)]:
    print(f"{n=} {kernel=} {before=} {after=} {stride=}: {size(n, kernel, before, after, stride)}")


# %% shapes
def conv(X, K, **options):
    return nd.Convolution(X, K, no_bias=True, num_filter=K.shape[0], kernel=K.shape[2:], **options)


examples = [  # kernel, padding on each side, stride
    [(3, 3), (1, 1), (1, 1)],
    [(5, 3), (2, 1), (1, 1)],
    [(3, 3), (1, 1), (2, 2)],
    [(3, 5), (0, 1), (3, 4)],
]
X8 = nd.arange(64).reshape((1, 1, 8, 8))
shapes, by_formula = [], []
for kernel, padding, stride in examples:
    layer = nn.Conv2D(1, kernel, padding=padding, strides=stride)
    layer.initialize()
    shapes.append(layer(X8).shape[2:])
    by_formula.append(tuple(size(8, k, p, p, s) for k, p, s in zip(kernel, padding, stride)))
    print(f"{kernel=} {padding=} {stride=}: {shapes[-1]}, by the formula {by_formula[-1]}")

# %% full
x = nd.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
k = nd.array([[[1.0, 2.0, 3.0]]])
valid = conv(x, k)[0, 0]
same = conv(x, k, pad=(1,))[0, 0]
full = conv(x, k, pad=(2,))[0, 0]
print(valid, same, full, sep="\n")


# %% same-pads
def same_pads(n, kernel, stride):
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


pads = [same_pads(n, 3, 2) for n in (4, 5, 6, 7)]
print(pads)

# %% same-stride-2
X = nd.arange(16).reshape((1, 1, 4, 4))
K = nd.ones((1, 1, 3, 3))
after = nd.pad(X, mode="constant", pad_width=(0, 0, 0, 0, 0, 1, 0, 1))
same_stride_2 = conv(after, K, stride=(2, 2))[0, 0]
padding_1 = conv(X, K, pad=(1, 1), stride=(2, 2))[0, 0]
print(same_stride_2, padding_1, sep="\n")

# %% asymmetric
above_left = conv(nd.pad(X, mode="constant", pad_width=(0, 0, 0, 0, 2, 0, 2, 0)), K)[0, 0]
print(above_left)

# %% mirror
X_mirror = nd.pad(X, mode="reflect", pad_width=(0, 0, 0, 0, 1, 1, 1, 1))
mirror_sums = conv(X_mirror, K)[0, 0]
mirrored = X_mirror[0, 0]
print(mirrored, mirror_sums, sep="\n")

# %% dropped
one_hot = nd.eye(8).reshape((8, 1, 8))
stride_3 = conv(one_hot, nd.ones((1, 1, 3)), stride=(3,))[:, 0]
dropped = np.flatnonzero((stride_3.sum(axis=1) == 0).asnumpy())
print(dropped)

# %% audio
seconds = np.arange(64) / 8000
low, high = (1000 * np.sin(2 * np.pi * hertz * seconds) for hertz in (250, 3500))
samples = nd.array(np.round(low + high)).reshape((1, 1, -1))
every_second = conv(samples, nd.array([[[0.0, 1.0, 0.0]]]), stride=(2,))[0, 0]
smoothed = conv(samples, nd.array([[[0.25, 0.5, 0.25]]]), stride=(2,))[0, 0]
print(every_second[:8], smoothed[:8], low[1:17:2].round(), sep="\n")

# %% darkening
counted = conv(nd.ones((1, 1, 6, 6)), K, pad=(1, 1))[0, 0]
print(counted / 9)

# %% border
paper = 1 - np.load("digits.npz")["images"][0]
page = nd.array(paper).reshape((1, 1, 28, 28))
box = nd.ones((1, 1, 5, 5))
zeros_around = conv(page, box, pad=(2, 2))[0, 0] / 25
mirror_around = conv(nd.pad(page, mode="reflect", pad_width=(0, 0, 0, 0, 2, 2, 2, 2)), box)[0, 0] / 25
pixels_only = (conv(page, box, pad=(2, 2)) / conv(nd.ones_like(page), box, pad=(2, 2)))[0, 0]
for name, blurred in ("zeros", zeros_around), ("mirror", mirror_around), ("pixels only", pixels_only):
    print(f"{name}: the corner {blurred[0, 0].asscalar():.3f}, the top row {blurred[0, 14].asscalar():.3f}")

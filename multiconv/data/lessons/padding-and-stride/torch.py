# %% formula
import numpy as np
import torch
from torch import nn
from torch.nn.functional import conv1d, conv2d, pad


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
X8 = torch.arange(64.0).reshape(1, 1, 8, 8)
shapes, by_formula = [], []
for kernel, padding, stride in examples:
    Y8 = nn.Conv2d(1, 1, kernel, padding=padding, stride=stride)(X8)
    shapes.append(tuple(Y8.shape[2:]))
    by_formula.append(tuple(size(8, k, p, p, s) for k, p, s in zip(kernel, padding, stride)))
    print(f"{kernel=} {padding=} {stride=}: {shapes[-1]}, by the formula {by_formula[-1]}")

# %% full
x = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
k = torch.tensor([[[1.0, 2.0, 3.0]]])
valid = conv1d(x, k)[0, 0]
same = conv1d(x, k, padding=1)[0, 0]
full = conv1d(x, k, padding=2)[0, 0]
print(valid, same, full, sep="\n")


# %% same-pads
def same_pads(n, kernel, stride):
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


pads = [same_pads(n, 3, 2) for n in (4, 5, 6, 7)]
print(pads)

# %% same-stride-2
X = torch.arange(16.0).reshape(1, 1, 4, 4)
K = torch.ones(1, 1, 3, 3)
same_stride_2 = conv2d(pad(X, (0, 1, 0, 1)), K, stride=2)[0, 0]
padding_1 = conv2d(X, K, padding=1, stride=2)[0, 0]
print(same_stride_2, padding_1, sep="\n")

# %% asymmetric
above_left = conv2d(pad(X, (2, 0, 2, 0)), K)[0, 0]
print(above_left)

# %% mirror
X_mirror = pad(X, (1, 1, 1, 1), mode="reflect")
mirror_sums = conv2d(X_mirror, K)[0, 0]
mirrored = X_mirror[0, 0]
print(mirrored, mirror_sums, sep="\n")

# %% dropped
one_hot = torch.eye(8).reshape(8, 1, 8)
stride_3 = conv1d(one_hot, torch.ones(1, 1, 3), stride=3)[:, 0]
dropped = torch.nonzero(stride_3.sum(1) == 0).flatten()
print(dropped)

# %% audio
seconds = np.arange(64) / 8000
low, high = (1000 * np.sin(2 * np.pi * hertz * seconds) for hertz in (250, 3500))
samples = torch.from_numpy(np.round(low + high).astype("float32")).reshape(1, 1, -1)
every_second = conv1d(samples, torch.tensor([[[0.0, 1.0, 0.0]]]), stride=2)[0, 0]
smoothed = conv1d(samples, torch.tensor([[[0.25, 0.5, 0.25]]]), stride=2)[0, 0]
print(every_second[:8], smoothed[:8], low[1:17:2].round(), sep="\n")

# %% darkening
counted = conv2d(torch.ones(1, 1, 6, 6), K, padding=1)[0, 0]
print(counted / 9)

# %% border
paper = 1 - np.load("digits.npz")["images"][0]
page = torch.from_numpy(paper).reshape(1, 1, 28, 28)
box = torch.ones(1, 1, 5, 5)
zeros_around = conv2d(page, box, padding=2)[0, 0] / 25
mirror_around = conv2d(pad(page, (2, 2, 2, 2), mode="reflect"), box)[0, 0] / 25
pixels_only = (conv2d(page, box, padding=2) / conv2d(torch.ones_like(page), box, padding=2))[0, 0]
for name, blurred in ("zeros", zeros_around), ("mirror", mirror_around), ("pixels only", pixels_only):
    print(f"{name}: the corner {blurred[0, 0]:.3f}, the top row {blurred[0, 14]:.3f}")

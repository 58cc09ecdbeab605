# %% formula
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def size(n, kernel, before, after, stride=1):
    return (n + before + after - kernel) // stride + 1


for n, kernel, before, after, stride in [(8, 3, 0, 0, 1), (8, 3, 1, 1, 1), (8, 3, 1, 1, 2), (8, 3, 0, 1, 2)]:
    print(f"{n=} {kernel=} {before=} {after=} {stride=}: {size(n, kernel, before, after, stride)}")


# %% shapes
def conv2d(X, K, padding=((0, 0), (0, 0)), stride=(1, 1)):
    windows = sliding_window_view(np.pad(X, padding), K.shape)[:: stride[0], :: stride[1]]
    return np.einsum("ijab,ab->ij", windows, K)


examples = [  # kernel, padding on each side, stride
    [(3, 3), (1, 1), (1, 1)],
    [(5, 3), (2, 1), (1, 1)],
    [(3, 3), (1, 1), (2, 2)],
    [(3, 5), (0, 1), (3, 4)],
]
X8 = np.arange(64, dtype="float32").reshape(8, 8)
shapes, by_formula = [], []
for kernel, padding, stride in examples:
    Y8 = conv2d(X8, np.ones(kernel, "float32"), [(p, p) for p in padding], stride)
    shapes.append(Y8.shape)
    by_formula.append(tuple(size(8, k, p, p, s) for k, p, s in zip(kernel, padding, stride)))
    print(f"{kernel=} {padding=} {stride=}: {shapes[-1]}, by the formula {by_formula[-1]}")

# %% full
x = np.array([1.0, 2.0, 3.0, 4.0, 5.0], dtype="float32")
k = np.array([1.0, 2.0, 3.0], dtype="float32")
valid = np.correlate(x, k, "valid")
same = np.correlate(x, k, "same")
full = np.correlate(x, k, "full")
print(valid, same, full, sep="\n")


# %% same-pads
def same_pads(n, kernel, stride):
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


pads = [same_pads(n, 3, 2) for n in (4, 5, 6, 7)]
print(pads)

# %% same-stride-2
X = np.arange(16, dtype="float32").reshape(4, 4)
K = np.ones((3, 3), dtype="float32")
same_stride_2 = conv2d(X, K, ((0, 1), (0, 1)), (2, 2))
padding_1 = conv2d(X, K, ((1, 1), (1, 1)), (2, 2))
print(same_stride_2, padding_1, sep="\n")

# %% asymmetric
above_left = conv2d(X, K, ((2, 0), (2, 0)))
print(above_left)

# %% mirror
mirrored = np.pad(X, 1, mode="reflect")
mirror_sums = conv2d(mirrored, K)
print(mirrored, mirror_sums, sep="\n")

# %% dropped
one_hot = np.eye(8, dtype="float32")
stride_3 = np.stack([np.correlate(row, np.ones(3, "float32"), "valid")[::3] for row in one_hot])
dropped = np.flatnonzero(stride_3.sum(1) == 0)
print(dropped)

# %% audio
seconds = np.arange(64) / 8000
low, high = (1000 * np.sin(2 * np.pi * hertz * seconds) for hertz in (250, 3500))
samples = np.round(low + high).astype("float32")
every_second = np.correlate(samples, np.array([0, 1, 0], "float32"), "valid")[::2]
smoothed = np.correlate(samples, np.array([0.25, 0.5, 0.25], "float32"), "valid")[::2]
print(every_second[:8], smoothed[:8], low[1:17:2].round(), sep="\n")

# %% darkening
counted = conv2d(np.ones((6, 6), "float32"), K, ((1, 1), (1, 1)))
print(counted / 9)

# %% border
paper = 1 - np.load("digits.npz")["images"][0]
box = np.ones((5, 5), dtype="float32")
zeros_around = conv2d(paper, box, ((2, 2), (2, 2))) / 25
mirror_around = conv2d(np.pad(paper, 2, mode="reflect"), box) / 25
pixels_only = conv2d(paper, box, ((2, 2), (2, 2))) / conv2d(np.ones_like(paper), box, ((2, 2), (2, 2)))
for name, blurred in ("zeros", zeros_around), ("mirror", mirror_around), ("pixels only", pixels_only):
    print(f"{name}: the corner {blurred[0, 0]:.3f}, the top row {blurred[0, 14]:.3f}")

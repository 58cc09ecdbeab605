# %% formula
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax


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
X8 = jnp.arange(64.0).reshape(1, 8, 8, 1)
shapes, by_formula = [], []
for kernel, padding, stride in examples:
    Y8 = nnx.Conv(1, 1, kernel, padding=padding, strides=stride, rngs=nnx.Rngs(0))(X8)
    shapes.append(Y8.shape[1:3])
    by_formula.append(tuple(size(8, k, p, p, s) for k, p, s in zip(kernel, padding, stride)))
    print(f"{kernel=} {padding=} {stride=}: {shapes[-1]}, by the formula {by_formula[-1]}")

# %% full
x = jnp.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
k = jnp.array([[[1.0, 2.0, 3.0]]])
valid = lax.conv_general_dilated(x, k, (1,), "VALID")[0, 0]
same = lax.conv_general_dilated(x, k, (1,), "SAME")[0, 0]
full = lax.conv_general_dilated(x, k, (1,), [(2, 2)])[0, 0]
print(valid, same, full, sep="\n")


# %% same-pads
def same_pads(n, kernel, stride):
    return lax.padtype_to_pads((n,), (kernel,), (stride,), "SAME")[0]


pads = [same_pads(n, 3, 2) for n in (4, 5, 6, 7)]
print(pads)

# %% same-stride-2
X = jnp.arange(16.0).reshape(1, 1, 4, 4)
K = jnp.ones((1, 1, 3, 3))
same_stride_2 = lax.conv_general_dilated(X, K, (2, 2), "SAME")[0, 0]
padding_1 = lax.conv_general_dilated(X, K, (2, 2), [(1, 1), (1, 1)])[0, 0]
print(same_stride_2, padding_1, sep="\n")

# %% asymmetric
above_left = lax.conv_general_dilated(X, K, (1, 1), [(2, 0), (2, 0)])[0, 0]
print(above_left)

# %% mirror
X_mirror = jnp.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
mirror_sums = lax.conv_general_dilated(X_mirror, K, (1, 1), "VALID")[0, 0]
mirrored = X_mirror[0, 0]
print(mirrored, mirror_sums, sep="\n")

# %% dropped
one_hot = jnp.eye(8).reshape(8, 1, 8)
stride_3 = lax.conv_general_dilated(one_hot, jnp.ones((1, 1, 3)), (3,), "VALID")[:, 0]
dropped = jnp.flatnonzero(stride_3.sum(1) == 0)
print(dropped)

# %% audio
seconds = np.arange(64) / 8000
low, high = (1000 * np.sin(2 * np.pi * hertz * seconds) for hertz in (250, 3500))
samples = jnp.asarray(np.round(low + high).astype("float32")).reshape(1, 1, -1)
every_second = lax.conv_general_dilated(samples, jnp.array([[[0.0, 1.0, 0.0]]]), (2,), "VALID")[0, 0]
smoothed = lax.conv_general_dilated(samples, jnp.array([[[0.25, 0.5, 0.25]]]), (2,), "VALID")[0, 0]
print(every_second[:8], smoothed[:8], low[1:17:2].round(), sep="\n")

# %% darkening
counted = lax.conv_general_dilated(jnp.ones((1, 1, 6, 6)), K, (1, 1), "SAME")[0, 0]
print(counted / 9)

# %% border
paper = 1 - np.load("digits.npz")["images"][0]
page = jnp.asarray(paper).reshape(1, 1, 28, 28)
box = jnp.ones((1, 1, 5, 5))
zeros_around = lax.conv_general_dilated(page, box, (1, 1), "SAME")[0, 0] / 25
mirror_pad = jnp.pad(page, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
mirror_around = lax.conv_general_dilated(mirror_pad, box, (1, 1), "VALID")[0, 0] / 25
counts = lax.conv_general_dilated(jnp.ones_like(page), box, (1, 1), "SAME")[0, 0]
pixels_only = lax.conv_general_dilated(page, box, (1, 1), "SAME")[0, 0] / counts
for name, blurred in ("zeros", zeros_around), ("mirror", mirror_around), ("pixels only", pixels_only):
    print(f"{name}: the corner {blurred[0, 0]:.3f}, the top row {blurred[0, 14]:.3f}")

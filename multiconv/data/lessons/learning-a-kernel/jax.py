# %% data
import inspect

import jax.numpy as jnp
from flax import nnx

X = jnp.ones((1, 6, 8, 1), dtype="float32")
X = X.at[:, :, 2:6].set(0)
Y = X[:, :, :-1] - X[:, :, 1:]
print(X[0, 0, :, 0], Y[0, 0, :, 0])


# %% train
def squared_error(conv, X, Y):
    return ((conv(X) - Y) ** 2).sum()


def train(X, Y, initial, rate=0.03, steps=10):
    conv = nnx.Conv(1, 1, kernel_size=(1, 2), padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    conv.kernel[...] = initial.reshape(1, 2, 1, 1)
    losses = []
    for _ in range(steps):
        loss, gradient = nnx.value_and_grad(squared_error)(conv, X, Y)
        conv.kernel[...] -= rate * gradient.kernel[...]
        losses.append(loss.item())
    return losses, conv.kernel[...].reshape(1, 2)


initial = jnp.array([[0.25, 0.75]], dtype="float32")
losses, kernel = train(X, Y, initial)
print([round(loss, 4) for loss in losses])

# %% learned
print(kernel)


# %% predicted
def predict(initial, rate=0.03, steps=10):
    total, difference = float(initial[0, 0] + initial[0, 1]), float(initial[0, 0] - initial[0, 1]) - 2
    slow, fast = (1 - 12 * rate) ** 2, (1 - 60 * rate) ** 2
    return [15 * total**2 * fast**step + 3 * difference**2 * slow**step for step in range(steps)]


predicted = predict(initial)
print([round(loss, 4) for loss in predicted])
print("largest difference:", max(abs(a - b) for a, b in zip(losses, predicted)))


# %% initialiser
def default_kernel(rngs):
    return nnx.Conv(1, 1, kernel_size=(1, 2), use_bias=False, rngs=rngs).kernel[...].reshape(1, 2)


default = inspect.signature(nnx.Conv.__init__).parameters["kernel_init"].default
print(default.__qualname__, inspect.getclosurevars(default).nonlocals)

# %% draws
rngs = nnx.Rngs(0)
kernels = jnp.stack([default_kernel(rngs) for _ in range(500)])
print(f"from {kernels.min():.3f} to {kernels.max():.3f}, standard deviation {kernels.std():.3f}")

# %% from-defaults
for kernel_0 in kernels[:4]:
    ours, formula = train(X, Y, kernel_0)[0], predict(kernel_0)
    print("losses", [f"{loss:.3f}" for loss in ours[1::2]], "predicted", [f"{loss:.3f}" for loss in formula[1::2]])
mean = jnp.array([predict(kernel_0) for kernel_0 in kernels]).mean(axis=0)
print("mean of 500 predictions:", [f"{loss:.3f}" for loss in mean[1::2]])

# %% rates
losses_by_rate = [train(X, Y, initial, rate)[0] for rate in (0.01, 1 / 36, 0.03)]
for losses_at_rate in losses_by_rate:
    print([f"{loss:.2e}" for loss in losses_at_rate[::3]])
losses_too_fast, _ = train(X, Y, initial, rate=0.035)
print([f"{loss:.1f}" for loss in losses_too_fast[::3]])

# %% no-edges
X_flat = jnp.ones((1, 6, 8, 1), dtype="float32")
Y_flat = X_flat[:, :, :-1] - X_flat[:, :, 1:]
losses_flat, kernel_flat = train(X_flat, Y_flat, initial, rate=0.005)
print(f"{losses_flat[-1]:.1e}", kernel_flat)

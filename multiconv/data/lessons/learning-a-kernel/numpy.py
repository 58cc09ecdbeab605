# %% data
import numpy as np

X = np.ones((6, 8), dtype="float32")
X[:, 2:6] = 0
Y = X[:, :-1] - X[:, 1:]
print(X[0], Y[0])


# %% train
def train(X, Y, initial, rate=0.03, steps=10):
    kernel = initial.copy()
    losses = []
    for _ in range(steps):
        left, right = X[:, :-1], X[:, 1:]
        error = kernel[0, 0] * left + kernel[0, 1] * right - Y
        loss = (error**2).sum()
        gradient = np.array([[(2 * error * left).sum(), (2 * error * right).sum()]])
        kernel -= rate * gradient
        losses.append(loss.item())
    return losses, kernel


initial = np.array([[0.25, 0.75]], dtype="float32")
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
def default_kernel(rng):
    return rng.normal(0, np.sqrt(1 / 2), (1, 2)).astype("float32")


print("none: normal with variance 1 / fan_in here")

# %% draws
rng = np.random.default_rng(0)
kernels = np.stack([default_kernel(rng) for _ in range(500)])
print(f"from {kernels.min():.3f} to {kernels.max():.3f}, standard deviation {kernels.std():.3f}")

# %% from-defaults
for kernel_0 in kernels[:4]:
    ours, formula = train(X, Y, kernel_0)[0], predict(kernel_0)
    print("losses", [f"{loss:.3f}" for loss in ours[1::2]], "predicted", [f"{loss:.3f}" for loss in formula[1::2]])
mean = np.array([predict(kernel_0) for kernel_0 in kernels]).mean(axis=0)
print("mean of 500 predictions:", [f"{loss:.3f}" for loss in mean[1::2]])

# %% rates
losses_by_rate = [train(X, Y, initial, rate)[0] for rate in (0.01, 1 / 36, 0.03)]
for losses_at_rate in losses_by_rate:
    print([f"{loss:.2e}" for loss in losses_at_rate[::3]])
losses_too_fast, _ = train(X, Y, initial, rate=0.035)
print([f"{loss:.1f}" for loss in losses_too_fast[::3]])

# %% no-edges
X_flat = np.ones((6, 8), dtype="float32")
Y_flat = X_flat[:, :-1] - X_flat[:, 1:]
losses_flat, kernel_flat = train(X_flat, Y_flat, initial, rate=0.005)
print(f"{losses_flat[-1]:.1e}", kernel_flat)

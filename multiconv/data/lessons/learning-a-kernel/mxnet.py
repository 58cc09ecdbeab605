# %% data
import inspect

import mxnet as mx
from mxnet import autograd, gluon, nd

X = nd.ones((1, 1, 6, 8), dtype="float32")
X[:, :, :, 2:6] = 0
Y = X[:, :, :, :-1] - X[:, :, :, 1:]
print(X[0, 0, 0], Y[0, 0, 0])


# %% train
def train(X, Y, initial, rate=0.03, steps=10):
    conv = gluon.nn.Conv2D(1, kernel_size=(1, 2), in_channels=1, use_bias=False)
    conv.initialize()
    conv.weight.set_data(initial.reshape((1, 1, 1, 2)))
    losses = []
    for _ in range(steps):
        with autograd.record():
            loss = ((conv(X) - Y) ** 2).sum()
        loss.backward()
        conv.weight.set_data(conv.weight.data() - rate * conv.weight.grad())
        losses.append(float(loss.asscalar()))
    return losses, conv.weight.data().reshape((1, 2))


initial = nd.array([[0.25, 0.75]], dtype="float32")
losses, kernel = train(X, Y, initial)
print([round(loss, 4) for loss in losses])

# %% learned
print(kernel)


# %% predicted
def predict(initial, rate=0.03, steps=10):
    (left, right) = initial[0].asnumpy().tolist()
    total, difference = left + right, left - right - 2
    slow, fast = (1 - 12 * rate) ** 2, (1 - 60 * rate) ** 2
    return [15 * total**2 * fast**step + 3 * difference**2 * slow**step for step in range(steps)]


predicted = predict(initial)
print([round(loss, 4) for loss in predicted])
print("largest difference:", max(abs(a - b) for a, b in zip(losses, predicted)))


# %% initialiser
def default_kernel():
    conv = gluon.nn.Conv2D(1, kernel_size=(1, 2), in_channels=1, use_bias=False)
    conv.initialize()
    return conv.weight.data().reshape((1, 2))


print(inspect.signature(gluon.nn.Conv2D.initialize).parameters["init"].default.dumps())

# %% draws
mx.random.seed(0)
kernels = nd.stack(*[default_kernel() for _ in range(500)])
print(f"from {kernels.min().asscalar():.3f} to {kernels.max().asscalar():.3f}, ", end="")
print(f"standard deviation {((kernels - kernels.mean()) ** 2).mean().sqrt().asscalar():.3f}")

# %% from-defaults
for kernel_0 in kernels[:4]:
    ours, formula = train(X, Y, kernel_0)[0], predict(kernel_0)
    print("losses", [f"{loss:.3f}" for loss in ours[1::2]], "predicted", [f"{loss:.3f}" for loss in formula[1::2]])
mean = nd.array([predict(kernel_0) for kernel_0 in kernels]).mean(axis=0).asnumpy()
print("mean of 500 predictions:", [f"{loss:.3f}" for loss in mean[1::2]])

# %% rates
losses_by_rate = [train(X, Y, initial, rate)[0] for rate in (0.01, 1 / 36, 0.03)]
for losses_at_rate in losses_by_rate:
    print([f"{loss:.2e}" for loss in losses_at_rate[::3]])
losses_too_fast, _ = train(X, Y, initial, rate=0.035)
print([f"{loss:.1f}" for loss in losses_too_fast[::3]])

# %% no-edges
X_flat = nd.ones((1, 1, 6, 8), dtype="float32")
Y_flat = X_flat[:, :, :, :-1] - X_flat[:, :, :, 1:]
losses_flat, kernel_flat = train(X_flat, Y_flat, initial, rate=0.005)
print(f"{losses_flat[-1]:.1e}", kernel_flat)

# %% data
import inspect

import torch
from torch import nn

X = torch.ones(1, 1, 6, 8)
X[..., 2:6] = 0
Y = X[..., :-1] - X[..., 1:]
print(X[0, 0, 0], Y[0, 0, 0])


# %% train
def train(X, Y, initial, rate=0.03, steps=10):
    conv = nn.Conv2d(1, 1, kernel_size=(1, 2), bias=False)
    with torch.no_grad():
        conv.weight.copy_(initial)
    losses = []
    for _ in range(steps):
        loss = ((conv(X) - Y) ** 2).sum()
        conv.zero_grad()
        loss.backward()
        with torch.no_grad():
            conv.weight -= rate * conv.weight.grad
        losses.append(loss.item())
    return losses, conv.weight.detach().reshape(1, 2)


initial = torch.tensor([[0.25, 0.75]])
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
def default_kernel():
    return nn.Conv2d(1, 1, kernel_size=(1, 2), bias=False).weight.detach().reshape(1, 2)


source = inspect.getsource(nn.Conv2d.reset_parameters)
print(*[line.strip() for line in source.splitlines() if "(self.weight, " in line])

# %% draws
torch.manual_seed(0)
kernels = torch.stack([default_kernel() for _ in range(500)])
print(f"from {kernels.min():.3f} to {kernels.max():.3f}, standard deviation {kernels.std():.3f}")

# %% from-defaults
for kernel_0 in kernels[:4]:
    ours, formula = train(X, Y, kernel_0)[0], predict(kernel_0)
    print("losses", [f"{loss:.3f}" for loss in ours[1::2]], "predicted", [f"{loss:.3f}" for loss in formula[1::2]])
mean = torch.tensor([predict(kernel_0) for kernel_0 in kernels]).mean(dim=0)
print("mean of 500 predictions:", [f"{loss:.3f}" for loss in mean[1::2]])

# %% rates
losses_by_rate = [train(X, Y, initial, rate)[0] for rate in (0.01, 1 / 36, 0.03)]
for losses_at_rate in losses_by_rate:
    print([f"{loss:.2e}" for loss in losses_at_rate[::3]])
losses_too_fast, _ = train(X, Y, initial, rate=0.035)
print([f"{loss:.1f}" for loss in losses_too_fast[::3]])

# %% no-edges
X_flat = torch.ones(1, 1, 6, 8)
Y_flat = X_flat[..., :-1] - X_flat[..., 1:]
losses_flat, kernel_flat = train(X_flat, Y_flat, initial, rate=0.005)
print(f"{losses_flat[-1]:.1e}", kernel_flat)

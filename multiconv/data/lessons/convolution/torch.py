# %% impulse
import numpy as np
import torch
from torch import nn


def operator(X, K):
    return nn.functional.conv2d(X[None, None], K[None, None])[0, 0]


K = torch.arange(1, 10, dtype=torch.float32).reshape(3, 3)
X_impulse = torch.zeros(5, 5)
X_impulse[2, 2] = 1
operator_of_impulse = operator(X_impulse, K)
print(operator_of_impulse)


# %% stamps
def convolve_full(X, K):
    h, w = K.shape
    Y = torch.zeros((X.shape[0] + h - 1, X.shape[1] + w - 1), dtype=X.dtype)
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            Y[i : i + h, j : j + w] += X[i, j] * K
    return Y


def convolve(X, K):
    h, w = K.shape
    return convolve_full(X, K)[h - 1 : X.shape[0], w - 1 : X.shape[1]]


convolution_of_impulse = convolve(X_impulse, K)
print(convolution_of_impulse)


# %% flip
def strict(X, K):
    return operator(X, K.flip(0, 1))


X = (torch.arange(30, dtype=torch.float32) * 5 % 7).reshape(5, 6)
Y_operator = operator(X, K)
Y_strict = strict(X, K)
Y_one_axis = operator(X, K.flip(1))
print(Y_operator)
print(Y_strict)
both_axes_flipped = bool((Y_strict == convolve(X, K)).all())
one_axis_flipped = bool((Y_one_axis == convolve(X, K)).all())
print("equal to the stamps:", both_axes_flipped, one_axis_flipped)

# %% names
x = torch.tensor([1, 2, 3, 4, 5], dtype=torch.float32)
k = torch.tensor([1, 2, 3], dtype=torch.float32)
cross_1d = k[0] * x[:3] + k[1] * x[1:4] + k[2] * x[2:]
strict_1d = k[2] * x[:3] + k[1] * x[1:4] + k[0] * x[2:]
answers = {
    "nn.functional.conv1d": nn.functional.conv1d(x[None, None], k[None, None])[0, 0],
    "nn.functional.conv2d": nn.functional.conv2d(x[None, None, None], k[None, None, None])[0, 0, 0],
}
print("cross-correlation is", cross_1d, "and convolution", strict_1d)
for name, y in answers.items():
    print(f"{name}: {y}")

# %% learn
X_learn = torch.from_numpy(np.random.default_rng(0).integers(-2, 3, (8, 8)).astype("float32"))
Y_learn = operator(X_learn, torch.tensor([[1, 2], [3, 4]], dtype=torch.float32))


def learn(convolution, rate=0.004, steps=15):
    K = torch.zeros(2, 2, requires_grad=True)
    for _ in range(steps):
        loss = ((convolution(X_learn, K) - Y_learn) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, K)
        with torch.no_grad():
            K -= rate * gradient
    return K.detach()


learned_with_operator = learn(operator)
learned_with_strict = learn(strict)
print(learned_with_operator)
print(learned_with_strict)
one_is_the_other_flipped = bool((learned_with_operator == learned_with_strict.flip(0, 1)).all())
print("one is the other, flipped:", one_is_the_other_flipped)

# %% commute
convolved = convolve_full(X, K)
swapped = convolve_full(K, X)
commutes = bool((convolved == swapped).all())
print("X * K = K * X:", commutes)
X_padded = nn.functional.pad(X, (2, 2, 2, 2))
K_padded = nn.functional.pad(K, (5, 5, 4, 4))
correlated = operator(X_padded, K)
correlated_swapped = operator(K_padded, X)
cross_correlation_commutes = bool((correlated == correlated_swapped).all())
print("the same for cross-correlation:", cross_correlation_commutes)
turned = bool((correlated == correlated_swapped.flip(0, 1)).all())
print("turned by 180°:", turned)

# %% symmetric
K_symmetric = K * K.flip(0, 1)
Y_symmetric = operator(X, K_symmetric)
print(K_symmetric)
symmetric_agrees = bool((Y_symmetric == strict(X, K_symmetric)).all())
print("the same output:", symmetric_agrees)

# %% transposed
transposed = nn.functional.conv_transpose2d(X[None, None], K[None, None])[0, 0]
transposed_is_convolution = bool((transposed == convolved).all())
print("equal to the full strict convolution:", transposed_is_convolution)

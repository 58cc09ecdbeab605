# %% corr2d
import torch
from torch import nn


def corr2d(X, K):
    h, w = K.shape
    Y = torch.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), dtype=X.dtype)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
    return Y


X = (torch.arange(20, dtype=torch.float32) * 3 % 7).reshape(4, 5)
K = torch.tensor([[1, -2, 3], [0, 4, -1]], dtype=torch.float32)
Y = corr2d(X, K)
print(Y)

# %% gradients
dy = torch.arange(-2, 7, dtype=torch.float32).reshape(3, 3)
X.requires_grad_()
K.requires_grad_()
Y = corr2d(X, K)
Y.backward(dy)
dx, dk = X.grad, K.grad
print(dx)
print(dk)

# %% formulas
X, K, Y = X.detach(), K.detach(), Y.detach()
dy_padded = nn.functional.pad(dy, (2, 2, 1, 1))
dx_by_hand = corr2d(dy_padded, K.flip(0, 1))
dk_by_hand = corr2d(X, dy)
dx_of_formula_agrees = bool((dx == dx_by_hand).all())
dk_of_formula_agrees = bool((dk == dk_by_hand).all())
print("equal:", dx_of_formula_agrees, dk_of_formula_agrees)


# %% finite-differences
def finite_differences(function, A):
    steps = torch.eye(A.numel()).reshape(-1, *A.shape)
    return torch.stack([(function(A + step) - function(A - step)) / 2 for step in steps]).reshape(A.shape)


dx_by_differences = finite_differences(lambda X: (corr2d(X, K) * dy).sum(), X)
dk_by_differences = finite_differences(lambda K: (corr2d(X, K) * dy).sum(), K)
dx_of_differences_agrees = bool((dx == dx_by_differences).all())
dk_of_differences_agrees = bool((dk == dk_by_differences).all())
print("equal:", dx_of_differences_agrees, dk_of_differences_agrees)

# %% assignment
K_tracked = K.clone().requires_grad_()
Y_assigned = torch.zeros(3, 3)
Y_assigned[0, 0] = (X[:2, :3] * K_tracked).sum()
print("a tensor assigned:", type(Y_assigned.grad_fn).__name__)
Y_assigned = torch.zeros(3, 3)
Y_assigned[0, 0] = (X[:2, :3] * K_tracked).sum().item()
print("a number assigned:", Y_assigned.grad_fn)
Y_assigned = torch.zeros(3, 3, requires_grad=True)
try:
    Y_assigned[0, 0] = (X[:2, :3] * K_tracked).sum()
except RuntimeError as error:
    print("with requires_grad:", error)

# %% operator
X_4d, K_4d = X.reshape(1, 1, 4, 5).requires_grad_(), K.reshape(1, 1, 2, 3).requires_grad_()
Y_of_operator = nn.functional.conv2d(X_4d, K_4d)[0, 0]
dx_of_operator, dk_of_operator = (d[0, 0] for d in torch.autograd.grad(Y_of_operator, (X_4d, K_4d), dy))
dx_of_operator_agrees = bool((dx == dx_of_operator).all())
dk_of_operator_agrees = bool((dk == dk_of_operator).all())
print("equal:", dx_of_operator_agrees, dk_of_operator_agrees)

# %% products
products = torch.stack([(Y * dy).sum(), (X * dx).sum(), (K * dk).sum()])
print(products)

# %% bias
bias = torch.tensor([2.0], requires_grad=True)
(dbias,) = torch.autograd.grad(corr2d(X, K) + bias, bias, dy)
(dbias_of_ones,) = torch.autograd.grad(corr2d(X, K) + bias, bias, torch.ones(3, 3))
print(dbias, dbias_of_ones)

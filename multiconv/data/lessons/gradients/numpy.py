# %% corr2d
import numpy as np


def corr2d(X, K):
    h, w = K.shape
    Y = np.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), X.dtype)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
    return Y


X = (np.arange(20, dtype="float32") * 3 % 7).reshape(4, 5)
K = np.array([[1, -2, 3], [0, 4, -1]], dtype="float32")
Y = corr2d(X, K)
print(Y)


# %% gradients
def corr2d_backward(X, K, dy):
    h, w = K.shape
    dx, dk = np.zeros_like(X), np.zeros_like(K)
    for i in range(dy.shape[0]):
        for j in range(dy.shape[1]):
            dx[i : i + h, j : j + w] += dy[i, j] * K
            dk += dy[i, j] * X[i : i + h, j : j + w]
    return dx, dk


dy = np.arange(-2, 7, dtype="float32").reshape(3, 3)
dx, dk = corr2d_backward(X, K, dy)
print(dx)
print(dk)

# %% formulas
dy_padded = np.pad(dy, ((1, 1), (2, 2)))
dx_by_hand = corr2d(dy_padded, K[::-1, ::-1])
dk_by_hand = corr2d(X, dy)
dx_of_formula_agrees = bool((dx == dx_by_hand).all())
dk_of_formula_agrees = bool((dk == dk_by_hand).all())
print("equal:", dx_of_formula_agrees, dk_of_formula_agrees)


# %% finite-differences
def finite_differences(function, A):
    steps = np.eye(A.size, dtype="float32").reshape(-1, *A.shape)
    return np.stack([(function(A + step) - function(A - step)) / 2 for step in steps]).reshape(A.shape)


dx_by_differences = finite_differences(lambda X: (corr2d(X, K) * dy).sum(), X)
dk_by_differences = finite_differences(lambda K: (corr2d(X, K) * dy).sum(), K)
dx_of_differences_agrees = bool((dx == dx_by_differences).all())
dk_of_differences_agrees = bool((dk == dk_by_differences).all())
print("equal:", dx_of_differences_agrees, dk_of_differences_agrees)

# %% assignment
Y_assigned = np.zeros((3, 3), dtype="float32")
Y_assigned[0, 0] = (X[:2, :3] * K).sum()
print("recorded:", hasattr(Y_assigned, "grad_fn"))

# %% operator
windows = np.lib.stride_tricks.sliding_window_view(X, K.shape)
Y_of_operator = np.einsum("ijab,ab->ij", windows, K)
dx_of_operator = np.einsum("ijab,ab->ij", np.lib.stride_tricks.sliding_window_view(dy_padded, K.shape), K[::-1, ::-1])
dk_of_operator = np.einsum("ijab,ij->ab", windows, dy)
dx_of_operator_agrees = bool((dx == dx_of_operator).all())
dk_of_operator_agrees = bool((dk == dk_of_operator).all())
print("equal:", dx_of_operator_agrees, dk_of_operator_agrees)

# %% products
products = np.stack([(Y * dy).sum(), (X * dx).sum(), (K * dk).sum()])
print(products)

# %% bias
bias = np.array([2], dtype="float32")
dbias = finite_differences(lambda bias: ((corr2d(X, K) + bias) * dy).sum(), bias)
dbias_of_ones = finite_differences(lambda bias: (corr2d(X, K) + bias).sum(), bias)
print(dbias, dbias_of_ones)

# %% corr2d
import jax
import jax.numpy as jnp
from jax import lax


def corr2d(X, K):
    h, w = K.shape
    Y = jnp.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), X.dtype)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y = Y.at[i, j].set((X[i : i + h, j : j + w] * K).sum())
    return Y


X = (jnp.arange(20, dtype="float32") * 3 % 7).reshape(4, 5)
K = jnp.array([[1, -2, 3], [0, 4, -1]], dtype="float32")
Y = corr2d(X, K)
print(Y)

# %% gradients
dy = jnp.arange(-2, 7, dtype="float32").reshape(3, 3)
Y, backward = jax.vjp(corr2d, X, K)
dx, dk = backward(dy)
print(dx)
print(dk)

# %% formulas
dy_padded = jnp.pad(dy, ((1, 1), (2, 2)))
dx_by_hand = corr2d(dy_padded, K[::-1, ::-1])
dk_by_hand = corr2d(X, dy)
dx_of_formula_agrees = bool((dx == dx_by_hand).all())
dk_of_formula_agrees = bool((dk == dk_by_hand).all())
print("equal:", dx_of_formula_agrees, dk_of_formula_agrees)


# %% finite-differences
def finite_differences(function, A):
    steps = jnp.eye(A.size, dtype="float32").reshape(-1, *A.shape)
    return jnp.stack([(function(A + step) - function(A - step)) / 2 for step in steps]).reshape(A.shape)


dx_by_differences = finite_differences(lambda X: (corr2d(X, K) * dy).sum(), X)
dk_by_differences = finite_differences(lambda K: (corr2d(X, K) * dy).sum(), K)
dx_of_differences_agrees = bool((dx == dx_by_differences).all())
dk_of_differences_agrees = bool((dk == dk_by_differences).all())
print("equal:", dx_of_differences_agrees, dk_of_differences_agrees)

# %% assignment
Y_assigned = jnp.zeros((3, 3), dtype="float32")
try:
    Y_assigned[0, 0] = (X[:2, :3] * K).sum()
except TypeError as error:
    print(error)
Y_assigned.at[0, 0].set((X[:2, :3] * K).sum())
print("without Y = :", Y_assigned[0, 0])


# %% operator
def operator(X, K):
    return lax.conv(X[None, None], K[None, None], (1, 1), "VALID")[0, 0]


Y_of_operator, backward = jax.vjp(operator, X, K)
dx_of_operator, dk_of_operator = backward(dy)
dx_of_operator_agrees = bool((dx == dx_of_operator).all())
dk_of_operator_agrees = bool((dk == dk_of_operator).all())
print("equal:", dx_of_operator_agrees, dk_of_operator_agrees)

# %% products
products = jnp.stack([(Y * dy).sum(), (X * dx).sum(), (K * dk).sum()])
print(products)

# %% bias
bias = jnp.array([2], dtype="float32")
dbias = jax.grad(lambda bias: ((corr2d(X, K) + bias) * dy).sum())(bias)
dbias_of_ones = jax.grad(lambda bias: (corr2d(X, K) + bias).sum())(bias)
print(dbias, dbias_of_ones)

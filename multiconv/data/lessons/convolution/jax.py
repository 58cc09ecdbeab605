# %% impulse
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def operator(X, K):
    return lax.conv_general_dilated(X[None, None], K[None, None], (1, 1), "VALID")[0, 0]


K = jnp.arange(1, 10, dtype="float32").reshape(3, 3)
X_impulse = jnp.zeros((5, 5), dtype="float32")
X_impulse = X_impulse.at[2, 2].set(1)
operator_of_impulse = operator(X_impulse, K)
print(operator_of_impulse)


# %% stamps
def convolve_full(X, K):
    h, w = K.shape
    Y = jnp.zeros((X.shape[0] + h - 1, X.shape[1] + w - 1), X.dtype)
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            Y = Y.at[i : i + h, j : j + w].add(X[i, j] * K)
    return Y


def convolve(X, K):
    h, w = K.shape
    return convolve_full(X, K)[h - 1 : X.shape[0], w - 1 : X.shape[1]]


convolution_of_impulse = convolve(X_impulse, K)
print(convolution_of_impulse)


# %% flip
def strict(X, K):
    return operator(X, K[::-1, ::-1])


X = (jnp.arange(30, dtype="float32") * 5 % 7).reshape(5, 6)
Y_operator = operator(X, K)
Y_strict = strict(X, K)
Y_one_axis = operator(X, K[:, ::-1])
print(Y_operator)
print(Y_strict)
both_axes_flipped = bool((Y_strict == convolve(X, K)).all())
one_axis_flipped = bool((Y_one_axis == convolve(X, K)).all())
print("equal to the stamps:", both_axes_flipped, one_axis_flipped)

# %% names
x = jnp.array([1, 2, 3, 4, 5], dtype="float32")
k = jnp.array([1, 2, 3], dtype="float32")
cross_1d = k[0] * x[:3] + k[1] * x[1:4] + k[2] * x[2:]
strict_1d = k[2] * x[:3] + k[1] * x[1:4] + k[0] * x[2:]
answers = {
    "jnp.correlate": jnp.correlate(x, k, "valid"),
    "jnp.convolve": jnp.convolve(x, k, "valid"),
    "jax.scipy.signal.correlate": jax.scipy.signal.correlate(x, k, "valid"),
    "jax.scipy.signal.convolve": jax.scipy.signal.convolve(x, k, "valid"),
    "lax.conv": lax.conv(x[None, None], k[None, None], (1,), "VALID")[0, 0],
    "lax.conv_general_dilated": lax.conv_general_dilated(x[None, None], k[None, None], (1,), "VALID")[0, 0],
}
print("cross-correlation is", cross_1d, "and convolution", strict_1d)
for name, y in answers.items():
    print(f"{name}: {y}")

# %% learn
X_learn = jnp.array(np.random.default_rng(0).integers(-2, 3, (8, 8)), dtype="float32")
Y_learn = operator(X_learn, jnp.array([[1, 2], [3, 4]], dtype="float32"))


def learn(convolution, rate=0.004, steps=15):
    K = jnp.zeros((2, 2), dtype="float32")
    gradient = jax.grad(lambda K: ((convolution(X_learn, K) - Y_learn) ** 2).sum())
    for _ in range(steps):
        K -= rate * gradient(K)
    return K


learned_with_operator = learn(operator)
learned_with_strict = learn(strict)
print(learned_with_operator)
print(learned_with_strict)
one_is_the_other_flipped = bool((learned_with_operator == learned_with_strict[::-1, ::-1]).all())
print("one is the other, flipped:", one_is_the_other_flipped)

# %% commute
convolved = convolve_full(X, K)
swapped = convolve_full(K, X)
commutes = bool((convolved == swapped).all())
print("X * K = K * X:", commutes)
X_padded = jnp.pad(X, 2)
K_padded = jnp.pad(K, ((4, 4), (5, 5)))
correlated = operator(X_padded, K)
correlated_swapped = operator(K_padded, X)
cross_correlation_commutes = bool((correlated == correlated_swapped).all())
print("the same for cross-correlation:", cross_correlation_commutes)
turned = bool((correlated == correlated_swapped[::-1, ::-1]).all())
print("turned by 180°:", turned)

# %% symmetric
K_symmetric = K * K[::-1, ::-1]
Y_symmetric = operator(X, K_symmetric)
print(K_symmetric)
symmetric_agrees = bool((Y_symmetric == strict(X, K_symmetric)).all())
print("the same output:", symmetric_agrees)


# %% transposed
def transpose(X, K, transpose_kernel):
    layout = ("NCHW", "OIHW", "NCHW")
    return lax.conv_transpose(
        X[None, None], K[None, None], (1, 1), "VALID", dimension_numbers=layout, transpose_kernel=transpose_kernel
    )[0, 0]


transposed = transpose(X, K, transpose_kernel=True)
transposed_is_convolution = bool((transposed == convolved).all())
print("equal to the full strict convolution:", transposed_is_convolution)
print("without transpose_kernel:", bool((transpose(X, K, transpose_kernel=False) == convolved).all()))

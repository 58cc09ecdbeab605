# %% impulse
import numpy as np


def operator(X, K):
    windows = np.lib.stride_tricks.sliding_window_view(X, K.shape)
    return np.einsum("ijab,ab->ij", windows, K)


K = np.arange(1, 10, dtype="float32").reshape(3, 3)
X_impulse = np.zeros((5, 5), dtype="float32")
X_impulse[2, 2] = 1
operator_of_impulse = operator(X_impulse, K)
print(operator_of_impulse)


# %% stamps
def convolve_full(X, K):
    h, w = K.shape
    Y = np.zeros((X.shape[0] + h - 1, X.shape[1] + w - 1), X.dtype)
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
    return operator(X, K[::-1, ::-1])


X = (np.arange(30, dtype="float32") * 5 % 7).reshape(5, 6)
Y_operator = operator(X, K)
Y_strict = strict(X, K)
Y_one_axis = operator(X, K[:, ::-1])
print(Y_operator)
print(Y_strict)
both_axes_flipped = bool((Y_strict == convolve(X, K)).all())
one_axis_flipped = bool((Y_one_axis == convolve(X, K)).all())
print("equal to the stamps:", both_axes_flipped, one_axis_flipped)

# %% names
x = np.array([1, 2, 3, 4, 5], dtype="float32")
k = np.array([1, 2, 3], dtype="float32")
cross_1d = k[0] * x[:3] + k[1] * x[1:4] + k[2] * x[2:]
strict_1d = k[2] * x[:3] + k[1] * x[1:4] + k[0] * x[2:]
answers = {
    "np.correlate": np.correlate(x, k, "valid"),
    "np.convolve": np.convolve(x, k, "valid"),
}
print("cross-correlation is", cross_1d, "and convolution", strict_1d)
for name, y in answers.items():
    print(f"{name}: {y}")

# %% learn
X_learn = np.random.default_rng(0).integers(-2, 3, (8, 8)).astype("float32")
Y_learn = operator(X_learn, np.array([[1, 2], [3, 4]], dtype="float32"))


def learn(convolution, gradient, rate=0.004, steps=15):
    K = np.zeros((2, 2), dtype="float32")
    for _ in range(steps):
        error = convolution(X_learn, K) - Y_learn
        K -= rate * gradient(2 * error)
    return K


learned_with_operator = learn(operator, lambda cotangent: operator(X_learn, cotangent))
learned_with_strict = learn(strict, lambda cotangent: operator(X_learn, cotangent)[::-1, ::-1])
print(learned_with_operator)
print(learned_with_strict)
one_is_the_other_flipped = bool((learned_with_operator == learned_with_strict[::-1, ::-1]).all())
print("one is the other, flipped:", one_is_the_other_flipped)

# %% commute
convolved = convolve_full(X, K)
swapped = convolve_full(K, X)
commutes = bool((convolved == swapped).all())
print("X * K = K * X:", commutes)
X_padded = np.pad(X, 2)
K_padded = np.pad(K, ((4, 4), (5, 5)))
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
transposed = operator(X_padded, K[::-1, ::-1])
transposed_is_convolution = bool((transposed == convolved).all())
print("equal to the full strict convolution:", transposed_is_convolution)

# %% impulse
import numpy as np
from mxnet import autograd, nd


def operator(X, K):
    X, K = X.reshape((1, 1, *X.shape)), K.reshape((1, 1, *K.shape))
    return nd.Convolution(X, K, kernel=K.shape[2:], num_filter=1, no_bias=True)[0, 0]


K = nd.arange(1, 10, dtype="float32").reshape((3, 3))
X_impulse = nd.zeros((5, 5), dtype="float32")
X_impulse[2, 2] = 1
operator_of_impulse = operator(X_impulse, K)
print(operator_of_impulse)


# %% stamps
def convolve_full(X, K):
    h, w = K.shape
    Y = nd.zeros((X.shape[0] + h - 1, X.shape[1] + w - 1), dtype=X.dtype)
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
    return operator(X, K.flip((0, 1)))


X = (nd.arange(30, dtype="float32") * 5 % 7).reshape((5, 6))
Y_operator = operator(X, K)
Y_strict = strict(X, K)
Y_one_axis = operator(X, K.flip(1))
print(Y_operator)
print(Y_strict)
Y_stamps = convolve(X, K)
both_axes_flipped = bool((Y_strict == Y_stamps).min() == 1)
one_axis_flipped = bool((Y_one_axis == Y_stamps).min() == 1)
print("equal to the stamps:", both_axes_flipped, one_axis_flipped)

# %% names
x = nd.array([1, 2, 3, 4, 5], dtype="float32")
k = nd.array([1, 2, 3], dtype="float32")
cross_1d = k[0] * x[:3] + k[1] * x[1:4] + k[2] * x[2:]
strict_1d = k[2] * x[:3] + k[1] * x[1:4] + k[0] * x[2:]
x_4d, k_4d = x.reshape((1, 1, 1, 5)), k.reshape((1, 1, 1, 3))
answers = {
    "nd.Convolution, 1-D": nd.Convolution(x_4d[0], k_4d[0], kernel=3, num_filter=1, no_bias=True)[0, 0],
    "nd.Convolution, 2-D": nd.Convolution(x_4d, k_4d, kernel=(1, 3), num_filter=1, no_bias=True)[0, 0, 0],
}
print("cross-correlation is", cross_1d.asnumpy(), "and convolution", strict_1d.asnumpy())
for name, y in answers.items():
    print(f"{name}: {y.asnumpy()}")

# %% learn
X_learn = nd.array(np.random.default_rng(0).integers(-2, 3, (8, 8)), dtype="float32")
Y_learn = operator(X_learn, nd.array([[1, 2], [3, 4]], dtype="float32"))


def learn(convolution, rate=0.004, steps=15):
    K = nd.zeros((2, 2), dtype="float32")
    K.attach_grad()
    for _ in range(steps):
        with autograd.record():
            loss = ((convolution(X_learn, K) - Y_learn) ** 2).sum()
        loss.backward()
        K -= rate * K.grad
    return K


learned_with_operator = learn(operator)
learned_with_strict = learn(strict)
print(learned_with_operator)
print(learned_with_strict)
one_is_the_other_flipped = bool((learned_with_operator == learned_with_strict.flip((0, 1))).min() == 1)
print("one is the other, flipped:", one_is_the_other_flipped)

# %% commute
convolved = convolve_full(X, K)
swapped = convolve_full(K, X)
commutes = bool((convolved == swapped).min() == 1)
print("X * K = K * X:", commutes)
X_padded, K_padded = nd.zeros((9, 10)), nd.zeros((11, 13))
X_padded[2:-2, 2:-2] = X
K_padded[4:-4, 5:-5] = K
correlated = operator(X_padded, K)
correlated_swapped = operator(K_padded, X)
cross_correlation_commutes = bool((correlated == correlated_swapped).min() == 1)
print("the same for cross-correlation:", cross_correlation_commutes)
turned = bool((correlated == correlated_swapped.flip((0, 1))).min() == 1)
print("turned by 180°:", turned)

# %% symmetric
K_symmetric = K * K.flip((0, 1))
Y_symmetric = operator(X, K_symmetric)
print(K_symmetric)
symmetric_agrees = bool((Y_symmetric == strict(X, K_symmetric)).min() == 1)
print("the same output:", symmetric_agrees)

# %% transposed
X_4d, K_4d = X.reshape((1, 1, 5, 6)), K.reshape((1, 1, 3, 3))
transposed = nd.Deconvolution(X_4d, K_4d, kernel=(3, 3), num_filter=1, no_bias=True)[0, 0]
transposed_is_convolution = bool((transposed == convolved).min() == 1)
print("equal to the full strict convolution:", transposed_is_convolution)

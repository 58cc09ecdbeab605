# %% impulse
import numpy as np
import tensorflow as tf


def operator(X, K):
    return tf.nn.conv2d(X[None, :, :, None], K[:, :, None, None], strides=1, padding="VALID")[0, :, :, 0]


K = tf.reshape(tf.range(1, 10, dtype="float32"), (3, 3))
X_impulse = tf.zeros((5, 5))
X_impulse = tf.tensor_scatter_nd_update(X_impulse, [[2, 2]], [1.0])
operator_of_impulse = operator(X_impulse, K)
print(operator_of_impulse)


# %% stamps
def convolve_full(X, K):
    h, w = K.shape
    Y = tf.zeros((X.shape[0] + h - 1, X.shape[1] + w - 1), X.dtype)
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            Y += tf.pad(X[i, j] * K, [[i, X.shape[0] - 1 - i], [j, X.shape[1] - 1 - j]])
    return Y


def convolve(X, K):
    h, w = K.shape
    return convolve_full(X, K)[h - 1 : X.shape[0], w - 1 : X.shape[1]]


convolution_of_impulse = convolve(X_impulse, K)
print(convolution_of_impulse)


# %% flip
def strict(X, K):
    return operator(X, K[::-1, ::-1])


X = tf.reshape(tf.range(30, dtype="float32") * 5 % 7, (5, 6))
Y_operator = operator(X, K)
Y_strict = strict(X, K)
Y_one_axis = operator(X, K[:, ::-1])
print(Y_operator)
print(Y_strict)
Y_stamps = convolve(X, K)
both_axes_flipped = bool(tf.reduce_all(Y_strict == Y_stamps))
one_axis_flipped = bool(tf.reduce_all(Y_one_axis == Y_stamps))
print("equal to the stamps:", both_axes_flipped, one_axis_flipped)

# %% names
x = tf.constant([1, 2, 3, 4, 5], dtype="float32")
k = tf.constant([1, 2, 3], dtype="float32")
cross_1d = k[0] * x[:3] + k[1] * x[1:4] + k[2] * x[2:]
strict_1d = k[2] * x[:3] + k[1] * x[1:4] + k[0] * x[2:]
answers = {
    "tf.nn.conv1d": tf.nn.conv1d(x[None, :, None], k[:, None, None], 1, "VALID")[0, :, 0],
    "tf.nn.convolution": tf.nn.convolution(x[None, :, None], k[:, None, None])[0, :, 0],
}
print("cross-correlation is", cross_1d.numpy(), "and convolution", strict_1d.numpy())
for name, y in answers.items():
    print(f"{name}: {y.numpy()}")

# %% learn
X_learn = tf.constant(np.random.default_rng(0).integers(-2, 3, (8, 8)), dtype="float32")
Y_learn = operator(X_learn, tf.constant([[1, 2], [3, 4]], dtype="float32"))


def learn(convolution, rate=0.004, steps=15):
    K = tf.Variable(tf.zeros((2, 2)))
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((convolution(X_learn, K) - Y_learn) ** 2)
        K.assign_sub(rate * tape.gradient(loss, K))
    return K.read_value()


learned_with_operator = learn(operator)
learned_with_strict = learn(strict)
print(learned_with_operator)
print(learned_with_strict)
one_is_the_other_flipped = bool(tf.reduce_all(learned_with_operator == learned_with_strict[::-1, ::-1]))
print("one is the other, flipped:", one_is_the_other_flipped)

# %% commute
convolved = convolve_full(X, K)
swapped = convolve_full(K, X)
commutes = bool(tf.reduce_all(convolved == swapped))
print("X * K = K * X:", commutes)
X_padded = tf.pad(X, [[2, 2], [2, 2]])
K_padded = tf.pad(K, [[4, 4], [5, 5]])
correlated = operator(X_padded, K)
correlated_swapped = operator(K_padded, X)
cross_correlation_commutes = bool(tf.reduce_all(correlated == correlated_swapped))
print("the same for cross-correlation:", cross_correlation_commutes)
turned = bool(tf.reduce_all(correlated == correlated_swapped[::-1, ::-1]))
print("turned by 180°:", turned)

# %% symmetric
K_symmetric = K * K[::-1, ::-1]
Y_symmetric = operator(X, K_symmetric)
print(K_symmetric)
symmetric_agrees = bool(tf.reduce_all(Y_symmetric == strict(X, K_symmetric)))
print("the same output:", symmetric_agrees)

# %% transposed
transposed = tf.nn.conv2d_transpose(X[None, :, :, None], K[:, :, None, None], (1, 7, 8, 1), 1, "VALID")[0, :, :, 0]
transposed_is_convolution = bool(tf.reduce_all(transposed == convolved))
print("equal to the full strict convolution:", transposed_is_convolution)

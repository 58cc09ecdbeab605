# %% corr2d
import tensorflow as tf


def corr2d(X, K):
    h, w = K.shape
    Y = []
    for i in range(X.shape[0] - h + 1):
        for j in range(X.shape[1] - w + 1):
            Y.append(tf.reduce_sum(X[i : i + h, j : j + w] * K))
    return tf.reshape(tf.stack(Y), (X.shape[0] - h + 1, X.shape[1] - w + 1))


X = tf.reshape(tf.range(20, dtype="float32") * 3 % 7, (4, 5))
K = tf.constant([[1, -2, 3], [0, 4, -1]], dtype="float32")
Y = corr2d(X, K)
print(Y)

# %% gradients
dy = tf.reshape(tf.range(-2, 7, dtype="float32"), (3, 3))
with tf.GradientTape() as tape:
    tape.watch([X, K])
    Y = corr2d(X, K)
dx, dk = tape.gradient(Y, [X, K], output_gradients=dy)
print(dx)
print(dk)

# %% formulas
dy_padded = tf.pad(dy, [[1, 1], [2, 2]])
dx_by_hand = corr2d(dy_padded, K[::-1, ::-1])
dk_by_hand = corr2d(X, dy)
dx_of_formula_agrees = bool(tf.reduce_all(dx == dx_by_hand))
dk_of_formula_agrees = bool(tf.reduce_all(dk == dk_by_hand))
print("equal:", dx_of_formula_agrees, dk_of_formula_agrees)


# %% finite-differences
def finite_differences(function, A):
    steps = tf.reshape(tf.eye(tf.size(A)), (-1, *A.shape))
    return tf.reshape(tf.stack([(function(A + step) - function(A - step)) / 2 for step in steps]), A.shape)


dx_by_differences = finite_differences(lambda X: tf.reduce_sum(corr2d(X, K) * dy), X)
dk_by_differences = finite_differences(lambda K: tf.reduce_sum(corr2d(X, K) * dy), K)
dx_of_differences_agrees = bool(tf.reduce_all(dx == dx_by_differences))
dk_of_differences_agrees = bool(tf.reduce_all(dk == dk_by_differences))
print("equal:", dx_of_differences_agrees, dk_of_differences_agrees)

# %% assignment
Y_assigned = tf.zeros((3, 3))
try:
    Y_assigned[0, 0] = tf.reduce_sum(X[:2, :3] * K)
except TypeError as error:
    print("a tensor:", error)
Y_assigned = tf.Variable(tf.zeros((3, 3)))
with tf.GradientTape() as tape:
    tape.watch(K)
    Y_assigned[0, 0].assign(tf.reduce_sum(X[:2, :3] * K))
    total = tf.reduce_sum(Y_assigned)
print("a variable:", total.numpy(), "has the gradient", tape.gradient(total, K))

# %% operator
with tf.GradientTape() as tape:
    tape.watch([X, K])
    Y_of_operator = tf.nn.conv2d(X[None, :, :, None], K[:, :, None, None], strides=1, padding="VALID")[0, :, :, 0]
dx_of_operator, dk_of_operator = tape.gradient(Y_of_operator, [X, K], output_gradients=dy)
dx_of_operator_agrees = bool(tf.reduce_all(dx == dx_of_operator))
dk_of_operator_agrees = bool(tf.reduce_all(dk == dk_of_operator))
print("equal:", dx_of_operator_agrees, dk_of_operator_agrees)

# %% products
products = tf.stack([tf.reduce_sum(Y * dy), tf.reduce_sum(X * dx), tf.reduce_sum(K * dk)])
print(products)

# %% bias
bias = tf.Variable([2.0])
with tf.GradientTape(persistent=True) as tape:
    Y_biased = corr2d(X, K) + bias
dbias = tape.gradient(Y_biased, bias, output_gradients=dy)
dbias_of_ones = tape.gradient(Y_biased, bias)
print(dbias, dbias_of_ones)

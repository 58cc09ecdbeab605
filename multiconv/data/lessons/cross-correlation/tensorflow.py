# %% corr2d
import timeit

import keras
import tensorflow as tf


def corr2d(X, K):
    h, w = K.shape
    Y = []
    for i in range(X.shape[0] - h + 1):
        for j in range(X.shape[1] - w + 1):
            Y.append(tf.reduce_sum(X[i : i + h, j : j + w] * K))
    return tf.reshape(tf.stack(Y), (X.shape[0] - h + 1, X.shape[1] - w + 1))


X = tf.constant([[0, 1, 2], [3, 4, 5], [6, 7, 8]], dtype="float32")
K = tf.constant([[0, 1], [2, 3]], dtype="float32")
Y = corr2d(X, K)
print(Y)

# %% edges
black = tf.zeros((6, 4))
X_edges = tf.concat([tf.ones((6, 2)), black, tf.ones((6, 2))], axis=1)
K_edges = tf.constant([[1, -1]], dtype="float32")
edges = corr2d(X_edges, K_edges)
print(edges)

# %% transposed
edges_transposed = corr2d(tf.transpose(X_edges), K_edges)
print(edges_transposed)

# %% derivative
t = tf.reshape(tf.range(8, dtype="float32"), (1, 8))
first_derivative = corr2d(t * t, tf.constant([[-0.5, 0, 0.5]], dtype="float32"))
print("(t²)'  ", first_derivative)


# %% layer
class Conv2D(keras.Layer):
    def __init__(self, kernel_size):
        super().__init__()
        self.weight = self.add_weight(shape=kernel_size, initializer="random_uniform", name="weight")
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")

    def call(self, X):
        return corr2d(X, self.weight) + self.bias


layer = Conv2D((1, 2))
print({parameter.name: parameter.shape for parameter in layer.trainable_variables})
layer.weight.assign(K_edges)
layer.bias.assign([0.5])
layer_edges = layer(X_edges)
print(layer_edges[0])

# %% layer-gradients
with tf.GradientTape() as tape:
    total = tf.reduce_sum(layer(X_edges))
weight_gradient, bias_gradient = tape.gradient(total, layer.trainable_variables)
print(weight_gradient, bias_gradient)


# %% speed
def operator(X, K):
    return tf.nn.conv2d(X[None, :, :, None], K[:, :, None, None], strides=1, padding="VALID")[0, :, :, 0]


X_large = tf.reshape(tf.range(32 * 32, dtype="float32") % 7, (32, 32))
K_large = tf.reshape(tf.range(-4, 5, dtype="float32"), (3, 3))
start = timeit.default_timer()
by_loop = corr2d(X_large, K_large)
loop_time = timeit.default_timer() - start
by_operator = operator(X_large, K_large)
loop_equals_operator = bool(tf.reduce_all(by_loop == by_operator))
operator_time = timeit.timeit(lambda: operator(X_large, K_large), number=100) / 100
print("equal:", loop_equals_operator)
print(f"loop {loop_time * 1e3:.1f} ms, {loop_time / 30**2 * 1e6:.0f} µs for each number of the output")
print(f"operator {operator_time * 1e3:.3f} ms: the loop takes {loop_time / operator_time:.0f} times as long")

# %% diagonal
X_diagonal = tf.linalg.band_part(tf.ones((6, 6)), -1, 0)
K_diagonal = tf.constant([[1, 0], [0, -1]], dtype="float32")
diagonal = corr2d(X_diagonal, K_edges)
diagonal_transposed = corr2d(tf.transpose(X_diagonal), K_edges)
diagonal_along = corr2d(X_diagonal, K_diagonal)
diagonal_across = corr2d(X_diagonal, K_diagonal[:, ::-1])
print(diagonal)
print(diagonal_along)

# %% kernel-transposed
edges_kernel_transposed = corr2d(tf.transpose(X_edges), tf.transpose(K_edges))
diagonal_kernel_transposed = corr2d(X_diagonal, tf.transpose(K_edges))
print(edges_kernel_transposed)
edges_agree = bool(tf.reduce_all(edges_kernel_transposed == tf.transpose(edges)))
diagonals_agree = bool(tf.reduce_all(diagonal_kernel_transposed == tf.transpose(diagonal_transposed)))
print("equal to the transposed outputs:", edges_agree, diagonals_agree)

# %% higher-derivatives
second_derivative = corr2d(t * t, tf.constant([[1, -2, 1]], dtype="float32"))
third_derivative = corr2d(t * t * t, tf.constant([[-1, 3, -3, 1]], dtype="float32"))
print("(t²)'' ", second_derivative)
print("(t³)'''", third_derivative)

# %% matrix-product
patches = tf.stack([tf.reshape(X[i : i + 2, j : j + 2], -1) for i in range(2) for j in range(2)])
Y_from_patches = tf.reshape(tf.linalg.matvec(patches, tf.reshape(K, -1)), (2, 2))
print(patches)
one_pixel_images = tf.reshape(tf.eye(9), (9, 3, 3))
matrix = tf.stack([tf.reshape(corr2d(image, K), -1) for image in one_pixel_images], axis=1)
Y_from_matrix = tf.reshape(tf.linalg.matvec(matrix, tf.reshape(X, -1)), (2, 2))
print(matrix)
print(Y_from_matrix)

# %% corr2d
import timeit

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, nd


def corr2d(X, K):
    h, w = K.shape
    Y = []
    for i in range(X.shape[0] - h + 1):
        for j in range(X.shape[1] - w + 1):
            Y.append((X[i : i + h, j : j + w] * K).sum())
    return nd.stack(*Y).reshape((X.shape[0] - h + 1, X.shape[1] - w + 1))


X = nd.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]], dtype="float32")
K = nd.array([[0, 1], [2, 3]], dtype="float32")
Y = corr2d(X, K)
print(Y)

# %% edges
X_edges = nd.ones((6, 8), dtype="float32")
X_edges[:, 2:6] = 0
K_edges = nd.array([[1, -1]], dtype="float32")
edges = corr2d(X_edges, K_edges)
print(edges)

# %% transposed
edges_transposed = corr2d(X_edges.T, K_edges)
print(edges_transposed)

# %% derivative
t = nd.arange(8, dtype="float32").reshape((1, 8))
first_derivative = corr2d(t * t, nd.array([[-0.5, 0, 0.5]], dtype="float32"))
print("(t²)'  ", first_derivative)


# %% layer
class Conv2D(gluon.Block):
    def __init__(self, kernel_size):
        super().__init__()
        self.weight = self.params.get("weight", shape=kernel_size)
        self.bias = self.params.get("bias", shape=(1,), init="zeros")

    def forward(self, X):
        return corr2d(X, self.weight.data()) + self.bias.data()


layer = Conv2D((1, 2))
print({name: parameter.shape for name, parameter in layer.collect_params().items()})
layer.initialize(mx.init.Uniform(1))
layer.weight.set_data(K_edges)
layer.bias.set_data(nd.array([0.5]))
layer_edges = layer(X_edges)
print(layer_edges[0])

# %% layer-gradients
with autograd.record():
    layer_edges = layer(X_edges)
layer_edges.backward()
weight_gradient = layer.weight.grad()
bias_gradient = layer.bias.grad()
print(weight_gradient, bias_gradient)


# %% speed
def operator(X, K):
    X, K = X.reshape((1, 1, *X.shape)), K.reshape((1, 1, *K.shape))
    return nd.Convolution(X, K, kernel=K.shape[2:], num_filter=1, no_bias=True)[0, 0]


X_large = (nd.arange(32 * 32, dtype="float32") % 7).reshape((32, 32))
K_large = nd.arange(-4, 5, dtype="float32").reshape((3, 3))
start = timeit.default_timer()
by_loop = corr2d(X_large, K_large)
by_loop.wait_to_read()
loop_time = timeit.default_timer() - start
by_operator = operator(X_large, K_large)
loop_equals_operator = bool((by_loop == by_operator).min() == 1)
operator_time = timeit.timeit(lambda: operator(X_large, K_large).wait_to_read(), number=100) / 100
print("equal:", loop_equals_operator)
print(f"loop {loop_time * 1e3:.1f} ms, {loop_time / 30**2 * 1e6:.0f} µs for each number of the output")
print(f"operator {operator_time * 1e3:.3f} ms: the loop takes {loop_time / operator_time:.0f} times as long")

# %% diagonal
X_diagonal = nd.array(np.tri(6), dtype="float32")
K_diagonal = nd.array([[1, 0], [0, -1]], dtype="float32")
diagonal = corr2d(X_diagonal, K_edges)
diagonal_transposed = corr2d(X_diagonal.T, K_edges)
diagonal_along = corr2d(X_diagonal, K_diagonal)
diagonal_across = corr2d(X_diagonal, K_diagonal.flip(1))
print(diagonal)
print(diagonal_along)

# %% kernel-transposed
edges_kernel_transposed = corr2d(X_edges.T, K_edges.T)
diagonal_kernel_transposed = corr2d(X_diagonal, K_edges.T)
print(edges_kernel_transposed)
edges_agree = bool((edges_kernel_transposed == edges.T).min() == 1)
diagonals_agree = bool((diagonal_kernel_transposed == diagonal_transposed.T).min() == 1)
print("equal to the transposed outputs:", edges_agree, diagonals_agree)

# %% higher-derivatives
second_derivative = corr2d(t * t, nd.array([[1, -2, 1]], dtype="float32"))
third_derivative = corr2d(t * t * t, nd.array([[-1, 3, -3, 1]], dtype="float32"))
print("(t²)'' ", second_derivative)
print("(t³)'''", third_derivative)

# %% matrix-product
patches = nd.stack(*[X[i : i + 2, j : j + 2].reshape(-1) for i in range(2) for j in range(2)])
Y_from_patches = nd.dot(patches, K.reshape(-1)).reshape((2, 2))
print(patches)
one_pixel_images = nd.eye(9, dtype="float32").reshape((9, 3, 3))
matrix = nd.stack(*[corr2d(image, K).reshape(-1) for image in one_pixel_images], axis=1)
Y_from_matrix = nd.dot(matrix, X.reshape(-1)).reshape((2, 2))
print(matrix)
print(Y_from_matrix)

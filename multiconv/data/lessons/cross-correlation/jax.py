# %% corr2d
import timeit

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


def corr2d(X, K):
    h, w = K.shape
    Y = jnp.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), X.dtype)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y = Y.at[i, j].set((X[i : i + h, j : j + w] * K).sum())
    return Y


X = jnp.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]], dtype="float32")
K = jnp.array([[0, 1], [2, 3]], dtype="float32")
Y = corr2d(X, K)
print(Y)

# %% edges
X_edges = jnp.ones((6, 8), dtype="float32")
X_edges = X_edges.at[:, 2:6].set(0)
K_edges = jnp.array([[1, -1]], dtype="float32")
edges = corr2d(X_edges, K_edges)
print(edges)

# %% transposed
edges_transposed = corr2d(X_edges.T, K_edges)
print(edges_transposed)

# %% derivative
t = jnp.arange(8, dtype="float32").reshape(1, 8)
first_derivative = corr2d(t * t, jnp.array([[-0.5, 0, 0.5]], dtype="float32"))
print("(t²)'  ", first_derivative)


# %% layer
class Conv2D(nnx.Module):
    def __init__(self, kernel_size, rngs):
        self.weight = nnx.Param(jax.random.uniform(rngs.params(), kernel_size))
        self.bias = nnx.Param(jnp.zeros(1))

    def __call__(self, X):
        return corr2d(X, self.weight[...]) + self.bias[...]


layer = Conv2D((1, 2), rngs=nnx.Rngs(0))
print({name: parameter.shape for name, parameter in nnx.state(layer, nnx.Param).items()})
layer.weight[...] = K_edges
layer.bias[...] = jnp.array([0.5])
layer_edges = layer(X_edges)
print(layer_edges[0])

# %% layer-gradients
gradients = nnx.grad(lambda layer: layer(X_edges).sum())(layer)
weight_gradient = gradients.weight[...]
bias_gradient = gradients.bias[...]
print(weight_gradient, bias_gradient)


# %% speed
@jax.jit
def operator(X, K):
    return lax.conv(X[None, None], K[None, None], (1, 1), "VALID")[0, 0]


X_large = (jnp.arange(32 * 32, dtype="float32") % 7).reshape(32, 32)
K_large = jnp.arange(-4, 5, dtype="float32").reshape(3, 3)
start = timeit.default_timer()
by_loop = corr2d(X_large, K_large)
by_loop.block_until_ready()
loop_time = timeit.default_timer() - start
by_operator = operator(X_large, K_large)
loop_equals_operator = bool((by_loop == by_operator).all())
operator_time = timeit.timeit(lambda: operator(X_large, K_large).block_until_ready(), number=100) / 100
print("equal:", loop_equals_operator)
print(f"loop {loop_time * 1e3:.1f} ms, {loop_time / 30**2 * 1e6:.0f} µs for each number of the output")
print(f"operator {operator_time * 1e3:.3f} ms: the loop takes {loop_time / operator_time:.0f} times as long")

# %% diagonal
X_diagonal = jnp.tri(6, dtype="float32")
K_diagonal = jnp.array([[1, 0], [0, -1]], dtype="float32")
diagonal = corr2d(X_diagonal, K_edges)
diagonal_transposed = corr2d(X_diagonal.T, K_edges)
diagonal_along = corr2d(X_diagonal, K_diagonal)
diagonal_across = corr2d(X_diagonal, K_diagonal[:, ::-1])
print(diagonal)
print(diagonal_along)

# %% kernel-transposed
edges_kernel_transposed = corr2d(X_edges.T, K_edges.T)
diagonal_kernel_transposed = corr2d(X_diagonal, K_edges.T)
print(edges_kernel_transposed)
edges_agree = bool((edges_kernel_transposed == edges.T).all())
diagonals_agree = bool((diagonal_kernel_transposed == diagonal_transposed.T).all())
print("equal to the transposed outputs:", edges_agree, diagonals_agree)

# %% higher-derivatives
second_derivative = corr2d(t * t, jnp.array([[1, -2, 1]], dtype="float32"))
third_derivative = corr2d(t * t * t, jnp.array([[-1, 3, -3, 1]], dtype="float32"))
print("(t²)'' ", second_derivative)
print("(t³)'''", third_derivative)

# %% matrix-product
patches = jnp.stack([X[i : i + 2, j : j + 2].ravel() for i in range(2) for j in range(2)])
Y_from_patches = (patches @ K.ravel()).reshape(2, 2)
print(patches)
one_pixel_images = jnp.eye(9, dtype="float32").reshape(9, 3, 3)
matrix = jnp.stack([corr2d(image, K).ravel() for image in one_pixel_images], axis=1)
Y_from_matrix = (matrix @ X.ravel()).reshape(2, 2)
print(matrix)
print(Y_from_matrix)

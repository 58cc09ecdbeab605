# %% corr2d
import timeit

import torch
from torch import nn


def corr2d(X, K):
    h, w = K.shape
    Y = torch.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), dtype=X.dtype)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
    return Y


X = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]], dtype=torch.float32)
K = torch.tensor([[0, 1], [2, 3]], dtype=torch.float32)
Y = corr2d(X, K)
print(Y)

# %% edges
X_edges = torch.ones(6, 8)
X_edges[:, 2:6] = 0
K_edges = torch.tensor([[1.0, -1.0]])
edges = corr2d(X_edges, K_edges)
print(edges)

# %% transposed
edges_transposed = corr2d(X_edges.T, K_edges)
print(edges_transposed)

# %% derivative
t = torch.arange(8, dtype=torch.float32).reshape(1, 8)
first_derivative = corr2d(t * t, torch.tensor([[-0.5, 0, 0.5]]))
print("(t²)'  ", first_derivative)


# %% layer
class Conv2D(nn.Module):
    def __init__(self, kernel_size):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(kernel_size))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, X):
        return corr2d(X, self.weight) + self.bias


layer = Conv2D((1, 2))
print({name: tuple(parameter.shape) for name, parameter in layer.named_parameters()})
with torch.no_grad():
    layer.weight.copy_(K_edges)
    layer.bias.fill_(0.5)
layer_edges = layer(X_edges)
print(layer_edges[0])

# %% layer-gradients
layer_edges.backward(torch.ones_like(layer_edges))
weight_gradient = layer.weight.grad
bias_gradient = layer.bias.grad
print(weight_gradient, bias_gradient)


# %% speed
def operator(X, K):
    return nn.functional.conv2d(X[None, None], K[None, None])[0, 0]


X_large = (torch.arange(32 * 32, dtype=torch.float32) % 7).reshape(32, 32)
K_large = torch.arange(-4, 5, dtype=torch.float32).reshape(3, 3)
start = timeit.default_timer()
by_loop = corr2d(X_large, K_large)
loop_time = timeit.default_timer() - start
by_operator = operator(X_large, K_large)
loop_equals_operator = bool((by_loop == by_operator).all())
operator_time = timeit.timeit(lambda: operator(X_large, K_large), number=100) / 100
print("equal:", loop_equals_operator)
print(f"loop {loop_time * 1e3:.1f} ms, {loop_time / 30**2 * 1e6:.0f} µs for each number of the output")
print(f"operator {operator_time * 1e3:.3f} ms: the loop takes {loop_time / operator_time:.0f} times as long")

# %% diagonal
X_diagonal = torch.ones(6, 6).tril()
K_diagonal = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
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
edges_agree = bool((edges_kernel_transposed == edges.T).all())
diagonals_agree = bool((diagonal_kernel_transposed == diagonal_transposed.T).all())
print("equal to the transposed outputs:", edges_agree, diagonals_agree)

# %% higher-derivatives
second_derivative = corr2d(t * t, torch.tensor([[1.0, -2.0, 1.0]]))
third_derivative = corr2d(t * t * t, torch.tensor([[-1.0, 3.0, -3.0, 1.0]]))
print("(t²)'' ", second_derivative)
print("(t³)'''", third_derivative)

# %% matrix-product
patches = torch.stack([X[i : i + 2, j : j + 2].ravel() for i in range(2) for j in range(2)])
Y_from_patches = (patches @ K.ravel()).reshape(2, 2)
print(patches)
one_pixel_images = torch.eye(9).reshape(9, 3, 3)
matrix = torch.stack([corr2d(image, K).ravel() for image in one_pixel_images], dim=1)
Y_from_matrix = (matrix @ X.ravel()).reshape(2, 2)
print(matrix)
print(Y_from_matrix)

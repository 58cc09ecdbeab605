# %% corr2d
import numpy as np


def corr2d(X, K):
    h, w = K.shape
    Y = np.zeros((X.shape[0] - h + 1, X.shape[1] - w + 1), X.dtype)
    for i in range(Y.shape[0]):
        for j in range(Y.shape[1]):
            Y[i, j] = (X[i : i + h, j : j + w] * K).sum()
    return Y


X = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]], dtype="float32")
K = np.array([[0.0, 1.0], [2.0, 3.0]], dtype="float32")
Y = corr2d(X, K)
print(Y)

# %% edges
X_edges = np.ones((6, 8), dtype="float32")
X_edges[:, 2:6] = 0
K_edges = np.array([[1.0, -1.0]], dtype="float32")
edges = corr2d(X_edges, K_edges)
print(edges)

# %% corr2d
import mxnet as mx
from mxnet import autograd, nd


def corr2d(X, K):
    h, w = K.shape
    Y = []
    for i in range(X.shape[0] - h + 1):
        for j in range(X.shape[1] - w + 1):
            Y.append((X[i : i + h, j : j + w] * K).sum())
    return nd.stack(*Y).reshape((X.shape[0] - h + 1, X.shape[1] - w + 1))


X = (nd.arange(20, dtype="float32") * 3 % 7).reshape((4, 5))
K = nd.array([[1, -2, 3], [0, 4, -1]], dtype="float32")
Y = corr2d(X, K)
print(Y)

# %% gradients
dy = nd.arange(-2, 7, dtype="float32").reshape((3, 3))
X.attach_grad()
K.attach_grad()
with autograd.record():
    Y = corr2d(X, K)
Y.backward(dy)
dx, dk = X.grad.copy(), K.grad.copy()
print(dx)
print(dk)

# %% formulas
dy_padded = nd.zeros((5, 7))
dy_padded[1:-1, 2:-2] = dy
dx_by_hand = corr2d(dy_padded, K.flip((0, 1)))
dk_by_hand = corr2d(X, dy)
dx_of_formula_agrees = bool((dx == dx_by_hand).min() == 1)
dk_of_formula_agrees = bool((dk == dk_by_hand).min() == 1)
print("equal:", dx_of_formula_agrees, dk_of_formula_agrees)


# %% finite-differences
def finite_differences(function, A):
    steps = nd.eye(A.size).reshape((-1, *A.shape))
    return nd.concat(*[(function(A + step) - function(A - step)) / 2 for step in steps], dim=0).reshape(A.shape)


dx_by_differences = finite_differences(lambda X: (corr2d(X, K) * dy).sum(), X)
dk_by_differences = finite_differences(lambda K: (corr2d(X, K) * dy).sum(), K)
dx_of_differences_agrees = bool((dx == dx_by_differences).min() == 1)
dk_of_differences_agrees = bool((dk == dk_by_differences).min() == 1)
print("equal:", dx_of_differences_agrees, dk_of_differences_agrees)

# %% assignment
Y_assigned = nd.zeros((3, 3))
try:
    with autograd.record():
        Y_assigned[0, 0] = (X[:2, :3] * K).sum()
except mx.MXNetError as error:
    print("an array assigned:", str(error).splitlines()[-1])
Y_assigned = nd.zeros((3, 3))
try:
    with autograd.record():
        Y_assigned[0, 0] = (X[:2, :3] * K).sum().asscalar()
    Y_assigned.backward()
except mx.MXNetError as error:
    print("a number assigned:", str(error).splitlines()[-1].split(". ")[0])

# %% operator
with autograd.record():
    X_4d, K_4d = X.reshape((1, 1, 4, 5)), K.reshape((1, 1, 2, 3))
    Y_of_operator = nd.Convolution(X_4d, K_4d, kernel=(2, 3), num_filter=1, no_bias=True)[0, 0]
Y_of_operator.backward(dy)
dx_of_operator, dk_of_operator = X.grad.copy(), K.grad.copy()
dx_of_operator_agrees = bool((dx == dx_of_operator).min() == 1)
dk_of_operator_agrees = bool((dk == dk_of_operator).min() == 1)
print("equal:", dx_of_operator_agrees, dk_of_operator_agrees)

# %% products
products = nd.concat((Y * dy).sum(), (X * dx).sum(), (K * dk).sum(), dim=0)
print(products)

# %% bias
bias = nd.array([2], dtype="float32")
bias.attach_grad()
with autograd.record():
    Y_biased = corr2d(X, K) + bias
Y_biased.backward(dy, retain_graph=True)
dbias = bias.grad.copy()
Y_biased.backward()
dbias_of_ones = bias.grad
print(dbias, dbias_of_ones)

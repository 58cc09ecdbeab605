# %% digit
import numpy as np

digits = np.load("digits.npz")
digit = np.round(255 * digits["images"][digits["labels"] == 3][0]) / 256
initial = np.random.default_rng(0).normal(0, 3, (5, 784)).round().astype("float32") / 1024
x = digit.reshape(1, 784)
label = np.array([3])
print("digit:", digit.shape, "filters:", initial.reshape(5, 28, 28).shape)
print("pixels that are not black:", int((x > 0).sum()), "of", 28 * 28)


# %% layer
class Linear:
    def __init__(self, in_features, out_features):
        self.weight = np.zeros((out_features, in_features), dtype="float32")

    def __call__(self, x):
        return x @ self.weight.T


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def linear(weight):
    layer = Linear(784, 5)
    layer.weight[:] = weight
    return layer


layer = linear(initial)
logits = layer(x)
probabilities = softmax(logits)
print("logits:", [round(z, 4) for z in logits[0].tolist()])
print("probabilities:", [round(p, 4) for p in probabilities[0].tolist()])


# %% ten-steps
def train(layer):
    weights, losses = [layer.weight.copy()], []
    for _ in range(10):
        p = softmax(layer(x))
        loss = -np.log(p[0, label[0]])
        gradient = (p - np.eye(5, dtype="float32")[label]).T @ x
        layer.weight -= 0.01 * gradient
        weights.append(layer.weight.copy())
        losses.append(loss)
    return np.stack(weights), np.stack(losses)


weights, losses = train(layer)
for step, loss in enumerate(losses.tolist()):
    print(f"step {step}: loss {loss:.5f}")
filters = weights.reshape(11, 5, 28, 28)
before, after = filters[0], filters[10]
right_filter, wrong_filter = filters[:, 3], filters[:, 1]

# %% multiples
changes = weights[1:] - weights[:-1]
brightest = int(x.argmax())
multiples = changes[:, :, brightest] / x[0, brightest]
print("step  filter 0  filter 1  filter 2  filter 3  filter 4")
for step, row in enumerate(multiples.tolist()):
    print(f"{step:4}", *[f"{multiple:9.6f}" for multiple in row])
left_over = np.abs(changes - multiples[:, :, None] * x).max()
rounding = 2**-24 * np.abs(weights).max()
are_multiples = bool(left_over <= 10 * rounding)
print("each change is a multiple of the digit, but for rounding:", are_multiples)
signs = np.sign(multiples.sum(axis=0))
print("signs:", signs.tolist())

# %% exercise-predict
predicted = -0.01 * (probabilities - np.eye(5, dtype="float32")[label])
print("predicted:", [round(m, 6) for m in predicted[0].tolist()])
print("measured: ", [round(m, 6) for m in multiples[0].tolist()])
prediction_holds = bool(np.abs(predicted - multiples[:1]).max() <= 10 * rounding)
print("the same, but for rounding:", prediction_holds)

# %% exercise-sum
sum_of_changes = np.abs(changes.sum(axis=1)).max()
sum_is_zero = bool(sum_of_changes <= 40 * rounding)
print("the five changes sum to zero, but for rounding:", sum_is_zero)

# %% exercise-black
black = x == 0
black_change = (np.abs(weights[10] - weights[0]) * black).max()
print("where the digit is black the filters have changed by", float(black_change))

# %% exercise-zero
weights_from_zero, losses_from_zero = train(linear(np.zeros((5, 784), dtype="float32")))
from_zero = weights_from_zero[10].reshape(5, 28, 28)
print("first loss:", f"{float(losses_from_zero[0]):.5f}", "log 5:", f"{np.log(5):.5f}")
print("at the brightest pixel:", [round(w, 5) for w in weights_from_zero[10][:, brightest].tolist()])

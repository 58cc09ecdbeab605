# %% digit
import numpy as np
import torch
from torch import nn

digits = np.load("digits.npz")
digit = torch.from_numpy(np.round(255 * digits["images"][digits["labels"] == 3][0]) / 256)
initial = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (5, 784)).round().astype("float32") / 1024)
x = digit.reshape(1, 784)
label = torch.tensor([3])
print("digit:", tuple(digit.shape), "filters:", tuple(initial.reshape(5, 28, 28).shape))
print("pixels that are not black:", int((x > 0).sum()), "of", 28 * 28)


# %% layer
def linear(weight):
    layer = nn.Linear(784, 5, bias=False)
    with torch.no_grad():
        layer.weight[:] = weight
    return layer


layer = linear(initial)
logits = layer(x).detach()
probabilities = torch.softmax(logits, dim=1)
print("logits:", [round(z, 4) for z in logits[0].tolist()])
print("probabilities:", [round(p, 4) for p in probabilities[0].tolist()])


# %% ten-steps
def train(layer):
    weights, losses = [layer.weight.detach().clone()], []
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(10):
        loss = nn.functional.cross_entropy(layer(x), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weights.append(layer.weight.detach().clone())
        losses.append(loss.detach())
    return torch.stack(weights), torch.stack(losses)


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
left_over = (changes - multiples[:, :, None] * x).abs().max()
rounding = 2**-24 * weights.abs().max()
are_multiples = bool(left_over <= 10 * rounding)
print("each change is a multiple of the digit, but for rounding:", are_multiples)
signs = torch.sign(multiples.sum(dim=0))
print("signs:", signs.tolist())

# %% exercise-predict
predicted = -0.01 * (probabilities - nn.functional.one_hot(label, 5))
print("predicted:", [round(m, 6) for m in predicted[0].tolist()])
print("measured: ", [round(m, 6) for m in multiples[0].tolist()])
prediction_holds = bool((predicted - multiples[:1]).abs().max() <= 10 * rounding)
print("the same, but for rounding:", prediction_holds)

# %% exercise-sum
sum_of_changes = changes.sum(dim=1).abs().max()
sum_is_zero = bool(sum_of_changes <= 40 * rounding)
print("the five changes sum to zero, but for rounding:", sum_is_zero)

# %% exercise-black
black = x == 0
black_change = ((weights[10] - weights[0]).abs() * black).max()
print("where the digit is black the filters have changed by", float(black_change))

# %% exercise-zero
weights_from_zero, losses_from_zero = train(linear(torch.zeros(5, 784)))
from_zero = weights_from_zero[10].reshape(5, 28, 28)
print("first loss:", f"{float(losses_from_zero[0]):.5f}", "log 5:", f"{np.log(5):.5f}")
print("at the brightest pixel:", [round(w, 5) for w in weights_from_zero[10][:, brightest].tolist()])

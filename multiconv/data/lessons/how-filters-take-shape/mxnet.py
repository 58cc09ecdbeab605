# %% digit
import numpy as np
from mxnet import autograd, gluon, nd

digits = np.load("digits.npz")
digit = nd.array(np.round(255 * digits["images"][digits["labels"] == 3][0]) / 256)
initial = nd.array(np.random.default_rng(0).normal(0, 3, (5, 784)).round().astype("float32") / 1024)
x = digit.reshape(1, 784)
label = nd.array([3])
print("digit:", digit.shape, "filters:", initial.reshape(5, 28, 28).shape)
print("pixels that are not black:", int((x > 0).sum().asscalar()), "of", 28 * 28)


# %% layer
def linear(weight):
    layer = gluon.nn.Dense(5, use_bias=False, in_units=784)
    layer.initialize()
    layer.weight.set_data(weight)
    return layer


layer = linear(initial)
logits = layer(x)
probabilities = nd.softmax(logits)
print("logits:", [round(z, 4) for z in logits[0].asnumpy().tolist()])
print("probabilities:", [round(p, 4) for p in probabilities[0].asnumpy().tolist()])


# %% ten-steps
cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()


def train(layer):
    weights, losses = [layer.weight.data().copy()], []
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 0.01})
    for _ in range(10):
        with autograd.record():
            loss = cross_entropy(layer(x), label)
        loss.backward()
        trainer.step(batch_size=1)
        weights.append(layer.weight.data().copy())
        losses.append(loss)
    return nd.stack(*weights), nd.concat(*losses, dim=0)


weights, losses = train(layer)
for step, loss in enumerate(losses.asnumpy().tolist()):
    print(f"step {step}: loss {loss:.5f}")
filters = weights.reshape(11, 5, 28, 28)
before, after = filters[0], filters[10]
right_filter, wrong_filter = filters[:, 3], filters[:, 1]

# %% multiples
changes = weights[1:] - weights[:-1]
brightest = int(x.argmax(axis=1).asscalar())
multiples = changes[:, :, brightest] / x[0, brightest]
print("step  filter 0  filter 1  filter 2  filter 3  filter 4")
for step, row in enumerate(multiples.asnumpy().tolist()):
    print(f"{step:4}", *[f"{multiple:9.6f}" for multiple in row])
left_over = (changes - multiples.expand_dims(2) * x.expand_dims(0)).abs().max().asscalar()
rounding = 2**-24 * weights.abs().max().asscalar()
are_multiples = bool(left_over <= 10 * rounding)
print("each change is a multiple of the digit, but for rounding:", are_multiples)
signs = nd.sign(multiples.sum(axis=0))
print("signs:", signs.asnumpy().tolist())

# %% exercise-predict
predicted = -0.01 * (probabilities - nd.one_hot(label, 5))
print("predicted:", [round(m, 6) for m in predicted[0].asnumpy().tolist()])
print("measured: ", [round(m, 6) for m in multiples[0].asnumpy().tolist()])
prediction_holds = bool((predicted - multiples[:1]).abs().max().asscalar() <= 10 * rounding)
print("the same, but for rounding:", prediction_holds)

# %% exercise-sum
sum_of_changes = changes.sum(axis=1).abs().max().asscalar()
sum_is_zero = bool(sum_of_changes <= 40 * rounding)
print("the five changes sum to zero, but for rounding:", sum_is_zero)

# %% exercise-black
black = x == 0
black_change = ((weights[10] - weights[0]).abs() * black).max().asscalar()
print("where the digit is black the filters have changed by", float(black_change))

# %% exercise-zero
weights_from_zero, losses_from_zero = train(linear(nd.zeros((5, 784))))
from_zero = weights_from_zero[10].reshape(5, 28, 28)
print("first loss:", f"{losses_from_zero[0].asscalar():.5f}", "log 5:", f"{np.log(5):.5f}")
print("at the brightest pixel:", [round(w, 5) for w in weights_from_zero[10][:, brightest].asnumpy().tolist()])

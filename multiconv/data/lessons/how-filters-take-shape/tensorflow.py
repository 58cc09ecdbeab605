# %% digit
import keras
import numpy as np
import tensorflow as tf

digits = np.load("digits.npz")
digit = tf.constant(np.round(255 * digits["images"][digits["labels"] == 3][0]) / 256)
initial = tf.constant(np.random.default_rng(0).normal(0, 3, (5, 784)).round().astype("float32") / 1024)
x = tf.reshape(digit, (1, 784))
label = tf.constant([3])
print("digit:", digit.shape, "filters:", tf.reshape(initial, (5, 28, 28)).shape)
print("pixels that are not black:", int(tf.math.count_nonzero(x > 0)), "of", 28 * 28)


# %% layer
def linear(weight):
    layer = keras.layers.Dense(5, use_bias=False)
    layer.build((None, 784))
    layer.kernel.assign(tf.transpose(weight))
    return layer


layer = linear(initial)
logits = layer(x)
probabilities = tf.nn.softmax(logits)
print("logits:", [round(z, 4) for z in logits[0].numpy().tolist()])
print("probabilities:", [round(p, 4) for p in probabilities[0].numpy().tolist()])


# %% ten-steps
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def train(layer):
    weights, losses = [tf.transpose(layer.kernel)], []
    optimizer = keras.optimizers.SGD(0.01)
    for _ in range(10):
        with tf.GradientTape() as tape:
            loss = cross_entropy(label, layer(x))
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply(gradients, layer.trainable_variables)
        weights.append(tf.transpose(layer.kernel))
        losses.append(loss)
    return tf.stack(weights), tf.stack(losses)


weights, losses = train(layer)
for step, loss in enumerate(losses.numpy().tolist()):
    print(f"step {step}: loss {loss:.5f}")
filters = tf.reshape(weights, (11, 5, 28, 28))
before, after = filters[0], filters[10]
right_filter, wrong_filter = filters[:, 3], filters[:, 1]

# %% multiples
changes = weights[1:] - weights[:-1]
brightest = int(tf.argmax(x[0]))
multiples = changes[:, :, brightest] / x[0, brightest]
print("step  filter 0  filter 1  filter 2  filter 3  filter 4")
for step, row in enumerate(multiples.numpy().tolist()):
    print(f"{step:4}", *[f"{multiple:9.6f}" for multiple in row])
left_over = tf.reduce_max(tf.abs(changes - multiples[:, :, None] * x))
rounding = 2**-24 * tf.reduce_max(tf.abs(weights))
are_multiples = bool(left_over <= 10 * rounding)
print("each change is a multiple of the digit, but for rounding:", are_multiples)
signs = tf.sign(tf.reduce_sum(multiples, axis=0))
print("signs:", signs.numpy().tolist())

# %% exercise-predict
predicted = -0.01 * (probabilities - tf.one_hot(label, 5))
print("predicted:", [round(m, 6) for m in predicted[0].numpy().tolist()])
print("measured: ", [round(m, 6) for m in multiples[0].numpy().tolist()])
prediction_holds = bool(tf.reduce_max(tf.abs(predicted - multiples[:1])) <= 10 * rounding)
print("the same, but for rounding:", prediction_holds)

# %% exercise-sum
sum_of_changes = tf.reduce_max(tf.abs(tf.reduce_sum(changes, axis=1)))
sum_is_zero = bool(sum_of_changes <= 40 * rounding)
print("the five changes sum to zero, but for rounding:", sum_is_zero)

# %% exercise-black
black = tf.cast(x == 0, tf.float32)
black_change = tf.reduce_max(tf.abs(weights[10] - weights[0]) * black)
print("where the digit is black the filters have changed by", float(black_change))

# %% exercise-zero
weights_from_zero, losses_from_zero = train(linear(tf.zeros((5, 784))))
from_zero = tf.reshape(weights_from_zero[10], (5, 28, 28))
print("first loss:", f"{float(losses_from_zero[0]):.5f}", "log 5:", f"{np.log(5):.5f}")
print("at the brightest pixel:", [round(w, 5) for w in weights_from_zero[10][:, brightest].numpy().tolist()])

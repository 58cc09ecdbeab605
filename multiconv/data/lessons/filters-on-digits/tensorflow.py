# %% digit
import keras
import numpy as np
import tensorflow as tf

digits = np.load("digits.npz")
labels = digits["labels"][:64]
X = tf.constant(np.round(255 * digits["images"][:64, None]))
digit = X[0, 0]
print("batch:", X.shape, "labels:", labels[:10].tolist(), "...")
print("from row 14:", digit[14, 5:19].numpy().tolist())


# %% sobel
def conv2d(weight):
    layer = keras.layers.Conv2D(weight.shape[0], 3)
    layer.build((None, None, None, weight.shape[1]))
    layer.kernel.assign(tf.transpose(weight, [2, 3, 1, 0]))
    layer.bias.assign(tf.zeros(weight.shape[0]))
    return lambda X: tf.transpose(layer(tf.transpose(X, [0, 2, 3, 1])), [0, 3, 1, 2])


sobel = tf.constant([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
layer = conv2d(sobel[None, None])
sobel_answers = layer(X)
sobel_answer = sobel_answers[0, 0]
print(X.shape, "->", sobel_answers.shape)
print("from row 13:", sobel_answer[13, 4:18].numpy().tolist())

# %% four-filters
top = tf.constant([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
left = tf.constant([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
top_left = tf.constant([[-1.0, -1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
top_right = tf.constant([[0.0, -1.0, -1.0], [1.0, 0.0, -1.0], [1.0, 1.0, 0.0]])
kernels = tf.stack([top, left, top_left, top_right])[:, None]
filters = conv2d(kernels)
answers = filters(X)
print("kernels:", kernels.shape, "batch:", X.shape, "->", answers.shape)
top_answer, left_answer, top_left_answer, top_right_answer = answers[0]

# %% by-label
names = ["top", "left", "top-left", "top-right"]
strength = tf.reduce_sum(tf.nn.relu(answers), axis=(2, 3))
is_label = tf.one_hot(labels, 10)
counts = tf.reduce_sum(is_label, axis=0)
totals = tf.transpose(is_label) @ strength
means = totals / (26 * 26 * counts[:, None])
strongest = tf.argmax(means, axis=1)
print("label   top  left top-left top-right strongest")
for label, row in enumerate(means.numpy().tolist()):
    print(f"{label:5} {row[0]:5.1f} {row[1]:5.1f} {row[2]:8.1f} {row[3]:9.1f} {names[int(strongest[label])]}")
best_label = tf.argmax(means, axis=0)
for k in range(4):
    print(f"{names[k]} responds most to label {int(best_label[k])}")

# %% exercise-transpose
turned = tf.linalg.matrix_transpose(filters(tf.linalg.matrix_transpose(X)))
turned_top_error = tf.reduce_max(tf.abs(turned[:, 0] - answers[:, 1]))
turned_right_error = tf.reduce_max(tf.abs(turned[:, 3] + answers[:, 3]))
print("top filter, transposed there and back, minus left filter:", float(turned_top_error))
print("top-right filter, transposed there and back, plus itself:", float(turned_right_error))

# %% exercise-sums
brighter, cut = X[:1] + 100, X[:1, :, 10:]
sums = tf.reduce_sum(filters(X[:1]), axis=(2, 3))[0]
brighter_sums = tf.reduce_sum(filters(brighter), axis=(2, 3))[0]
cut_sums = tf.reduce_sum(filters(cut), axis=(2, 3))[0]
print("the digit:", sums.numpy().tolist())
print("100 brighter:", brighter_sums.numpy().tolist())
print("without its upper rows:", cut_sums.numpy().tolist())

# %% exercise-gradient
across, down = conv2d(tf.stack([sobel, tf.transpose(sobel)])[:, None])(X)[0]
steepness = tf.sqrt(across**2 + down**2)
print("from row 13:", [round(s) for s in steepness[13, 4:18].numpy().tolist()])

# %% exercise-difference
difference = kernels[:1] - kernels[1:2]
difference_error = tf.reduce_max(tf.abs(conv2d(difference)(X)[:, 0] - (answers[:, 0] - answers[:, 1])))
print("top minus left, as one kernel:", difference[0, 0].numpy().tolist())
print("largest difference from the two outputs subtracted:", float(difference_error))

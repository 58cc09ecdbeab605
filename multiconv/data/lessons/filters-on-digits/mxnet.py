# %% digit
import numpy as np
from mxnet import gluon, nd

digits = np.load("digits.npz")
labels = digits["labels"][:64]
X = nd.array(np.round(255 * digits["images"][:64, None]))
digit = X[0, 0]
print("batch:", X.shape, "labels:", labels[:10].tolist(), "...")
print("from row 14:", digit[14, 5:19].asnumpy().tolist())


# %% sobel
def conv2d(weight):
    layer = gluon.nn.Conv2D(weight.shape[0], 3, in_channels=weight.shape[1])
    layer.initialize()
    layer.weight.set_data(weight)
    layer.bias.set_data(nd.zeros(weight.shape[0]))
    return layer


sobel = nd.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
layer = conv2d(sobel[None, None])
sobel_answers = layer(X)
sobel_answer = sobel_answers[0, 0]
print(X.shape, "->", sobel_answers.shape)
print("from row 13:", sobel_answer[13, 4:18].asnumpy().tolist())

# %% four-filters
top = nd.array([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
left = nd.array([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
top_left = nd.array([[-1.0, -1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
top_right = nd.array([[0.0, -1.0, -1.0], [1.0, 0.0, -1.0], [1.0, 1.0, 0.0]])
kernels = nd.stack(top, left, top_left, top_right).expand_dims(1)
filters = conv2d(kernels)
answers = filters(X)
print("kernels:", kernels.shape, "batch:", X.shape, "->", answers.shape)
top_answer, left_answer, top_left_answer, top_right_answer = answers[0]

# %% by-label
names = ["top", "left", "top-left", "top-right"]
strength = nd.relu(answers).sum(axis=(2, 3))
is_label = nd.one_hot(nd.array(labels), 10)
counts = is_label.sum(axis=0)
totals = nd.dot(is_label.T, strength)
means = totals / (26 * 26 * counts.expand_dims(1))
strongest = means.argmax(axis=1).asnumpy()
print("label   top  left top-left top-right strongest")
for label, row in enumerate(means.asnumpy().tolist()):
    print(f"{label:5} {row[0]:5.1f} {row[1]:5.1f} {row[2]:8.1f} {row[3]:9.1f} {names[int(strongest[label])]}")
best_label = means.argmax(axis=0).asnumpy()
for k in range(4):
    print(f"{names[k]} responds most to label {int(best_label[k])}")

# %% exercise-transpose
turned = filters(X.swapaxes(2, 3)).swapaxes(2, 3)
turned_top_error = (turned[:, 0] - answers[:, 1]).abs().max().asscalar()
turned_right_error = (turned[:, 3] + answers[:, 3]).abs().max().asscalar()
print("top filter, transposed there and back, minus left filter:", float(turned_top_error))
print("top-right filter, transposed there and back, plus itself:", float(turned_right_error))

# %% exercise-sums
brighter, cut = X[:1] + 100, X[:1, :, 10:]
sums = filters(X[:1]).sum(axis=(2, 3))[0]
brighter_sums = filters(brighter).sum(axis=(2, 3))[0]
cut_sums = filters(cut).sum(axis=(2, 3))[0]
print("the digit:", sums.asnumpy().tolist())
print("100 brighter:", brighter_sums.asnumpy().tolist())
print("without its upper rows:", cut_sums.asnumpy().tolist())

# %% exercise-gradient
across, down = conv2d(nd.stack(sobel, sobel.T).expand_dims(1))(X)[0]
steepness = nd.sqrt(across**2 + down**2)
print("from row 13:", [round(s) for s in steepness[13, 4:18].asnumpy().tolist()])

# %% exercise-difference
difference = kernels[:1] - kernels[1:2]
difference_error = (conv2d(difference)(X)[:, 0] - (answers[:, 0] - answers[:, 1])).abs().max().asscalar()
print("top minus left, as one kernel:", difference[0, 0].asnumpy().tolist())
print("largest difference from the two outputs subtracted:", float(difference_error))

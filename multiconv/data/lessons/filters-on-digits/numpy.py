# %% digit
import numpy as np

digits = np.load("digits.npz")
labels = digits["labels"][:64]
X = np.round(255 * digits["images"][:64, None])
digit = X[0, 0]
print("batch:", X.shape, "labels:", labels[:10].tolist(), "...")
print("from row 14:", digit[14, 5:19].tolist())


# %% sobel
class Conv2d:
    def __init__(self, in_channels, out_channels, kernel_size):
        self.weight = np.zeros((out_channels, in_channels, kernel_size, kernel_size), dtype="float32")
        self.bias = np.zeros(out_channels, dtype="float32")

    def __call__(self, X):
        windows = np.lib.stride_tricks.sliding_window_view(X, self.weight.shape[2:], axis=(2, 3))
        return np.einsum("nchwij,ocij->nohw", windows, self.weight) + self.bias[:, None, None]


def conv2d(weight):
    layer = Conv2d(weight.shape[1], weight.shape[0], 3)
    layer.weight[:] = weight
    layer.bias[:] = 0
    return layer


sobel = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype="float32")
layer = conv2d(sobel[None, None])
sobel_answers = layer(X)
sobel_answer = sobel_answers[0, 0]
print(X.shape, "->", sobel_answers.shape)
print("from row 13:", sobel_answer[13, 4:18].tolist())

# %% four-filters
top = np.array([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], dtype="float32")
left = np.array([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]], dtype="float32")
top_left = np.array([[-1.0, -1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], dtype="float32")
top_right = np.array([[0.0, -1.0, -1.0], [1.0, 0.0, -1.0], [1.0, 1.0, 0.0]], dtype="float32")
kernels = np.stack([top, left, top_left, top_right])[:, None]
filters = conv2d(kernels)
answers = filters(X)
print("kernels:", kernels.shape, "batch:", X.shape, "->", answers.shape)
top_answer, left_answer, top_left_answer, top_right_answer = answers[0]

# %% by-label
names = ["top", "left", "top-left", "top-right"]
strength = np.maximum(answers, 0).sum(axis=(2, 3))
is_label = np.eye(10, dtype="float32")[labels]
counts = is_label.sum(axis=0)
totals = is_label.T @ strength
means = totals / (26 * 26 * counts[:, None])
strongest = means.argmax(axis=1)
print("label   top  left top-left top-right strongest")
for label, row in enumerate(means.tolist()):
    print(f"{label:5} {row[0]:5.1f} {row[1]:5.1f} {row[2]:8.1f} {row[3]:9.1f} {names[int(strongest[label])]}")
best_label = means.argmax(axis=0)
for k in range(4):
    print(f"{names[k]} responds most to label {int(best_label[k])}")

# %% exercise-transpose
turned = filters(X.swapaxes(2, 3)).swapaxes(2, 3)
turned_top_error = np.abs(turned[:, 0] - answers[:, 1]).max()
turned_right_error = np.abs(turned[:, 3] + answers[:, 3]).max()
print("top filter, transposed there and back, minus left filter:", float(turned_top_error))
print("top-right filter, transposed there and back, plus itself:", float(turned_right_error))

# %% exercise-sums
brighter, cut = X[:1] + 100, X[:1, :, 10:]
sums = filters(X[:1]).sum(axis=(2, 3))[0]
brighter_sums = filters(brighter).sum(axis=(2, 3))[0]
cut_sums = filters(cut).sum(axis=(2, 3))[0]
print("the digit:", sums.tolist())
print("100 brighter:", brighter_sums.tolist())
print("without its upper rows:", cut_sums.tolist())

# %% exercise-gradient
across, down = conv2d(np.stack([sobel, sobel.T])[:, None])(X)[0]
steepness = np.sqrt(across**2 + down**2)
print("from row 13:", [round(s) for s in steepness[13, 4:18].tolist()])

# %% exercise-difference
difference = kernels[:1] - kernels[1:2]
difference_error = np.abs(conv2d(difference)(X)[:, 0] - (answers[:, 0] - answers[:, 1])).max()
print("top minus left, as one kernel:", difference[0, 0].tolist())
print("largest difference from the two outputs subtracted:", float(difference_error))

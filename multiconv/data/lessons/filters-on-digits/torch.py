# %% digit
import numpy as np
import torch
from torch import nn

digits = np.load("digits.npz")
labels = digits["labels"][:64]
X = torch.from_numpy(np.round(255 * digits["images"][:64, None]))
digit = X[0, 0]
print("batch:", tuple(X.shape), "labels:", labels[:10].tolist(), "...")
print("from row 14:", digit[14, 5:19].tolist())


# %% sobel
def conv2d(weight):
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3).requires_grad_(False)
    layer.weight[:] = weight
    layer.bias[:] = 0
    return layer


sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
layer = conv2d(sobel[None, None])
sobel_answers = layer(X)
sobel_answer = sobel_answers[0, 0]
print(tuple(X.shape), "->", tuple(sobel_answers.shape))
print("from row 13:", sobel_answer[13, 4:18].tolist())

# %% four-filters
top = torch.tensor([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
left = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
top_left = torch.tensor([[-1.0, -1.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
top_right = torch.tensor([[0.0, -1.0, -1.0], [1.0, 0.0, -1.0], [1.0, 1.0, 0.0]])
kernels = torch.stack([top, left, top_left, top_right])[:, None]
filters = conv2d(kernels)
answers = filters(X)
print("kernels:", tuple(kernels.shape), "batch:", tuple(X.shape), "->", tuple(answers.shape))
top_answer, left_answer, top_left_answer, top_right_answer = answers[0]

# %% by-label
names = ["top", "left", "top-left", "top-right"]
strength = torch.relu(answers).sum(dim=(2, 3))
is_label = nn.functional.one_hot(torch.from_numpy(labels), 10).float()
counts = is_label.sum(dim=0)
totals = is_label.T @ strength
means = totals / (26 * 26 * counts[:, None])
strongest = means.argmax(dim=1)
print("label   top  left top-left top-right strongest")
for label, row in enumerate(means.tolist()):
    print(f"{label:5} {row[0]:5.1f} {row[1]:5.1f} {row[2]:8.1f} {row[3]:9.1f} {names[int(strongest[label])]}")
best_label = means.argmax(dim=0)
for k in range(4):
    print(f"{names[k]} responds most to label {int(best_label[k])}")

# %% exercise-transpose
turned = filters(X.swapaxes(2, 3)).swapaxes(2, 3)
turned_top_error = (turned[:, 0] - answers[:, 1]).abs().max()
turned_right_error = (turned[:, 3] + answers[:, 3]).abs().max()
print("top filter, transposed there and back, minus left filter:", float(turned_top_error))
print("top-right filter, transposed there and back, plus itself:", float(turned_right_error))

# %% exercise-sums
brighter, cut = X[:1] + 100, X[:1, :, 10:]
sums = filters(X[:1]).sum(dim=(2, 3))[0]
brighter_sums = filters(brighter).sum(dim=(2, 3))[0]
cut_sums = filters(cut).sum(dim=(2, 3))[0]
print("the digit:", sums.tolist())
print("100 brighter:", brighter_sums.tolist())
print("without its upper rows:", cut_sums.tolist())

# %% exercise-gradient
across, down = conv2d(torch.stack([sobel, sobel.T])[:, None])(X)[0]
steepness = torch.sqrt(across**2 + down**2)
print("from row 13:", [round(s) for s in steepness[13, 4:18].tolist()])

# %% exercise-difference
difference = kernels[:1] - kernels[1:2]
difference_error = (conv2d(difference)(X)[:, 0] - (answers[:, 0] - answers[:, 1])).abs().max()
print("top minus left, as one kernel:", difference[0, 0].tolist())
print("largest difference from the two outputs subtracted:", float(difference_error))

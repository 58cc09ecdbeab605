# %% kernels
import math

import numpy as np
import torch

names = ["blur", "Sobel", "Laplacian", "sharpen", "identity"]
blur = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
identity = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
kernels = torch.stack([blur, sobel, laplacian, identity - laplacian, identity])
gains = kernels.sum(dim=(1, 2))
print(dict(zip(names, gains.tolist())))


# %% response
def response(K):
    return torch.fft.fft2(K, s=(16, 16)).abs()


responses = response(kernels)
blur_response, sobel_response, laplacian_response = responses[:3]
print("cycles per pixel, along a row:  0, 1/4, 1/2; both ways: 1/2")
for name, H in zip(names, responses.tolist()):
    print(f"{name:9} {H[0][0]:18.2f} {H[0][4]:8.2f} {H[0][8]:5.2f} {H[8][8]:14.2f}")


# %% bands
frequency = np.minimum(np.arange(16), 16 - np.arange(16))
circle = np.rint(np.hypot(frequency[:, None], frequency))
on_circle = circle.reshape(-1, 1) == np.arange(9)
averages = torch.from_numpy((on_circle / on_circle.sum(axis=0)).astype("float32"))


def circle_power(K):
    return (response(K) ** 2).reshape(-1, 256) @ averages


band_names = ["band-pass", "high-pass", "low-pass", "all-pass", "band-stop"]


def band(power):
    passes = [p >= max(power) / 2 for p in power]
    ends = 2 * passes[0] + passes[-1]
    return 4 if ends == 3 and not all(passes) else ends


power = circle_power(kernels)
bands = [band(p) for p in power.tolist()]
print({name: band_names[b] for name, b in zip(names, bands)})
blur_power, sobel_power, laplacian_power = power[:3]


# %% moments
to_the_right = torch.tensor([-1.0, 0.0, 1.0])
upwards = torch.tensor([1.0, 0.0, -1.0])


def slopes(K):
    return (K @ to_the_right).sum(dim=1), K.sum(dim=2) @ upwards


def bends(K):
    return (K @ to_the_right**2).sum(dim=1) / 2, K.sum(dim=2) @ upwards**2 / 2


right, up = slopes(kernels)
along_rows, along_columns = bends(kernels)
moments = torch.stack([gains, right, up, along_rows, along_columns], dim=1)
print("          gain slope right, up  bend along rows, columns")
for name, m in zip(names, moments.tolist()):
    print(f"{name:9} {m[0]:4.1f} {m[1]:11.1f} {m[2]:3.1f} {m[3]:16.2f} {m[4]:8.2f}")

# %% separable
gram = kernels @ kernels.mT
square_of_sum = (kernels**2).sum(dim=(1, 2)) ** 2
sum_of_squares = (gram**2).sum(dim=(1, 2))
separable = square_of_sum == sum_of_squares
print(dict(zip(names, separable.tolist())))

# %% isotropic
transposed = kernels.mT
turned = transposed.flip(1)
isotropic = (kernels == transposed).all(dim=(1, 2)) & (kernels == turned).all(dim=(1, 2))
print(dict(zip(names, isotropic.tolist())))

# %% patterns
pattern_names = ["mean", "x", "xx", "y", "xy", "xxy", "yy", "xyy", "xxyy"]
lines = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 0.0, 1.0], [1.0, -2.0, 1.0]])
lines /= torch.sqrt(torch.tensor([[3.0], [2.0], [6.0]]))


def pattern_shares(K):
    amounts = lines @ K @ lines.T
    return ((amounts**2) / (K**2).sum(dim=(1, 2), keepdim=True)).reshape(-1, 9)


shares = pattern_shares(kernels)
for name, share in zip(names, shares.tolist()):
    print(f"{name:9}", ", ".join(f"{s:.0%} {p}" for s, p in zip(share, pattern_names) if s > 0.005))


# %% design
def edge(degrees):
    angle = math.radians(degrees)
    return (math.cos(angle) * sobel - math.sin(angle) * sobel.T) / 8


second = torch.tensor([[1.0, -2.0, 1.0], [2.0, -4.0, 2.0], [1.0, -2.0, 1.0]]) / 4
designs = torch.stack([edge(30), second, blur])
design_right, design_up = slopes(designs)
design_rows, design_columns = bends(designs)
print(f"an edge at {math.degrees(math.atan2(design_up[0], design_right[0])):.1f} degrees")
print("bends of the second derivative:", float(design_rows[1]), float(design_columns[1]))


# %% digit
def conv2d(X, K):
    return torch.conv2d(X, K[:, None])


digit = torch.from_numpy(np.load("digits.npz")["images"][0])
answers = conv2d(digit[None, None], designs)[0]
for name, answer in zip(["edge", "second", "blur"], answers.tolist()):
    print(f"{name:6}", " ".join(f"{number:5.2f}" for number in answer[13][6:18]))

# %% bars
bars = torch.zeros(16, 1, 8, 8)
for k in range(8):
    bars[k, 0, k, :] = 1
    bars[8 + k, 0, :, k] = 1
target = torch.tensor([1.0] * 8 + [-1.0] * 8)
print("a column of image 2:", bars[2, 0, :, 0].tolist())
print("a row of image 10:", bars[10, 0, 0].tolist())

# %% train
first = np.random.default_rng(3).uniform(-0.5, 0.5, (4, 3, 3)).astype("float32")
learned = torch.tensor(first, requires_grad=True)
weight = torch.tensor([1.0, 1.0, -1.0, -1.0], requires_grad=True)
losses = []
for _ in range(20):
    energy = (conv2d(bars, learned) ** 2).mean(dim=(2, 3))
    loss = ((energy @ weight - target) ** 2).mean()
    losses.append(loss.item())
    loss.backward()
    with torch.no_grad():
        for parameter in (learned, weight):
            parameter -= 0.3 * parameter.grad
            parameter.grad = None
learned, weight = learned.detach(), weight.detach()
scores = (conv2d(bars, learned) ** 2).mean(dim=(2, 3)) @ weight
told_apart = (scores * target > 0).sum()
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, {int(told_apart)} of 16 told apart")
for row in learned.reshape(-1, 9).tolist():
    print(" ".join(f"{number:5.2f}" for number in row))

# %% learned
learned_shares = pattern_shares(learned)
learned_patterns = learned_shares.argmax(dim=1)
learned_right, learned_up = slopes(learned)
learned_bands = [band(p) for p in circle_power(learned).tolist()]
for c, pattern in enumerate(learned_patterns.tolist()):
    kind = f"{band_names[learned_bands[c]]}, {float(learned_shares[c, pattern]):.0%} {pattern_names[pattern]}"
    direction = math.degrees(math.atan2(learned_up[c], learned_right[c])) % 360
    print(f"kernel {c}: {kind:20} slope towards {direction:3.0f} degrees, weight {float(weight[c]):5.2f}")

# %% exercise-unsharp
unsharp = 2 * identity - blur
unsharp_response = response(unsharp[None])[0]
print("gain:", float(unsharp.sum()))
print(f"lowest and highest response: {unsharp_response.min():.2f}, {unsharp_response.max():.2f}")

# %% exercise-twice
twice = conv2d(torch.nn.functional.pad(blur, (2, 2, 2, 2))[None, None], blur[None])[0, 0]
twice_response = response(twice[None])[0]
for row in (twice * 256).tolist():
    print(row)
print(f"{(twice_response - responses[0] ** 2).abs().max():.0e} from the square of the blur's response")

# %% exercise-steer
at_0, at_90, at_75 = conv2d(digit[None, None], torch.stack([edge(0), edge(90), edge(75)]))[0]
steered = math.cos(math.radians(75)) * at_0 + math.sin(math.radians(75)) * at_90
print(f"largest output {at_75.abs().max():.3f}, difference {(at_75 - steered).abs().max():.0e}")

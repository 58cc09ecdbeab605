# %% kernels
import math

import numpy as np

names = ["blur", "Sobel", "Laplacian", "sharpen", "identity"]
blur = np.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], dtype="float32") / 16
sobel = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype="float32")
laplacian = np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], dtype="float32")
identity = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype="float32")
kernels = np.stack([blur, sobel, laplacian, identity - laplacian, identity])
gains = kernels.sum(axis=(1, 2))
print(dict(zip(names, gains.tolist())))


# %% response
def response(K):
    return np.abs(np.fft.fft2(K, s=(16, 16)))


responses = response(kernels)
blur_response, sobel_response, laplacian_response = responses[:3]
print("cycles per pixel, along a row:  0, 1/4, 1/2; both ways: 1/2")
for name, H in zip(names, responses.tolist()):
    print(f"{name:9} {H[0][0]:18.2f} {H[0][4]:8.2f} {H[0][8]:5.2f} {H[8][8]:14.2f}")


# %% bands
frequency = np.minimum(np.arange(16), 16 - np.arange(16))
circle = np.rint(np.hypot(frequency[:, None], frequency))
on_circle = circle.reshape(-1, 1) == np.arange(9)
averages = (on_circle / on_circle.sum(axis=0)).astype("float32")


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
to_the_right = np.array([-1.0, 0.0, 1.0], dtype="float32")
upwards = np.array([1.0, 0.0, -1.0], dtype="float32")


def slopes(K):
    return (K @ to_the_right).sum(axis=1), K.sum(axis=2) @ upwards


def bends(K):
    return (K @ to_the_right**2).sum(axis=1) / 2, K.sum(axis=2) @ upwards**2 / 2


right, up = slopes(kernels)
along_rows, along_columns = bends(kernels)
moments = np.stack([gains, right, up, along_rows, along_columns], axis=1)
print("          gain slope right, up  bend along rows, columns")
for name, m in zip(names, moments.tolist()):
    print(f"{name:9} {m[0]:4.1f} {m[1]:11.1f} {m[2]:3.1f} {m[3]:16.2f} {m[4]:8.2f}")

# %% separable
gram = kernels @ kernels.transpose(0, 2, 1)
square_of_sum = (kernels**2).sum(axis=(1, 2)) ** 2
sum_of_squares = (gram**2).sum(axis=(1, 2))
separable = square_of_sum == sum_of_squares
print(dict(zip(names, separable.tolist())))

# %% isotropic
transposed = kernels.transpose(0, 2, 1)
turned = np.flip(transposed, axis=1)
isotropic = (kernels == transposed).all(axis=(1, 2)) & (kernels == turned).all(axis=(1, 2))
print(dict(zip(names, isotropic.tolist())))

# %% patterns
pattern_names = ["mean", "x", "xx", "y", "xy", "xxy", "yy", "xyy", "xxyy"]
lines = np.array([[1.0, 1.0, 1.0], [-1.0, 0.0, 1.0], [1.0, -2.0, 1.0]], dtype="float32")
lines /= np.sqrt(np.array([[3.0], [2.0], [6.0]], dtype="float32"))


def pattern_shares(K):
    amounts = lines @ K @ lines.T
    return ((amounts**2) / (K**2).sum(axis=(1, 2), keepdims=True)).reshape(-1, 9)


shares = pattern_shares(kernels)
for name, share in zip(names, shares.tolist()):
    print(f"{name:9}", ", ".join(f"{s:.0%} {p}" for s, p in zip(share, pattern_names) if s > 0.005))


# %% design
def edge(degrees):
    angle = math.radians(degrees)
    return (math.cos(angle) * sobel - math.sin(angle) * sobel.T) / 8


second = np.array([[1.0, -2.0, 1.0], [2.0, -4.0, 2.0], [1.0, -2.0, 1.0]], dtype="float32") / 4
designs = np.stack([edge(30), second, blur])
design_right, design_up = slopes(designs)
design_rows, design_columns = bends(designs)
print(f"an edge at {math.degrees(math.atan2(design_up[0], design_right[0])):.1f} degrees")
print("bends of the second derivative:", float(design_rows[1]), float(design_columns[1]))


# %% digit
def conv2d(X, K):
    windows = np.lib.stride_tricks.sliding_window_view(X[:, 0], (3, 3), axis=(1, 2))
    return np.einsum("nhwij,cij->nchw", windows, K)


digit = np.load("digits.npz")["images"][0]
answers = conv2d(digit[None, None], designs)[0]
for name, answer in zip(["edge", "second", "blur"], answers.tolist()):
    print(f"{name:6}", " ".join(f"{number:5.2f}" for number in answer[13][6:18]))

# %% bars
bars = np.zeros((16, 1, 8, 8), dtype="float32")
for k in range(8):
    bars[k, 0, k, :] = 1
    bars[8 + k, 0, :, k] = 1
target = np.array([1.0] * 8 + [-1.0] * 8, dtype="float32")
print("a column of image 2:", bars[2, 0, :, 0].tolist())
print("a row of image 10:", bars[10, 0, 0].tolist())

# %% train
first = np.random.default_rng(3).uniform(-0.5, 0.5, (4, 3, 3)).astype("float32")
learned = first.copy()
weight = np.array([1.0, 1.0, -1.0, -1.0], dtype="float32")
losses = []
for _ in range(20):
    answer = conv2d(bars, learned)
    energy = (answer**2).mean(axis=(2, 3))
    error = energy @ weight - target
    losses.append((error**2).mean())
    d_score = 2 * error / 16
    d_weight = energy.T @ d_score
    d_energy = d_score[:, None] * weight
    d_answer = d_energy[:, :, None, None] * 2 * answer / 36
    windows = np.lib.stride_tricks.sliding_window_view(bars[:, 0], (3, 3), axis=(1, 2))
    d_learned = np.einsum("nchw,nhwij->cij", d_answer, windows)
    learned = learned - np.float32(0.3) * d_learned
    weight = weight - np.float32(0.3) * d_weight
scores = (conv2d(bars, learned) ** 2).mean(axis=(2, 3)) @ weight
told_apart = (scores * target > 0).sum()
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, {int(told_apart)} of 16 told apart")
for row in learned.reshape(-1, 9).tolist():
    print(" ".join(f"{number:5.2f}" for number in row))

# %% learned
learned_shares = pattern_shares(learned)
learned_patterns = learned_shares.argmax(axis=1)
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
twice = conv2d(np.pad(blur, 2)[None, None], blur[None])[0, 0]
twice_response = response(twice[None])[0]
for row in (twice * 256).tolist():
    print(row)
print(f"{np.abs(twice_response - responses[0] ** 2).max():.0e} from the square of the blur's response")

# %% exercise-steer
at_0, at_90, at_75 = conv2d(digit[None, None], np.stack([edge(0), edge(90), edge(75)]))[0]
steered = math.cos(math.radians(75)) * at_0 + math.sin(math.radians(75)) * at_90
print(f"largest output {np.abs(at_75).max():.3f}, difference {np.abs(at_75 - steered).max():.0e}")

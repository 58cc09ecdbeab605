# %% kernels
import math

import numpy as np
from mxnet import autograd, nd

names = ["blur", "Sobel", "Laplacian", "sharpen", "identity"]
blur = nd.array([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
sobel = nd.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
laplacian = nd.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
identity = nd.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
kernels = nd.stack(blur, sobel, laplacian, identity - laplacian, identity)
gains = kernels.sum(axis=(1, 2))
print(dict(zip(names, gains.asnumpy().tolist())))


# %% response
def both_ways(A, K, B):
    return nd.dot(nd.dot(K, B.T).swapaxes(1, 2), A.T).swapaxes(1, 2)


def response(K):
    angle = 2 * math.pi / 16 * nd.dot(nd.arange(16).expand_dims(1), nd.arange(K.shape[1]).expand_dims(0))
    c, s = nd.cos(angle), nd.sin(angle)
    real = both_ways(c, K, c) - both_ways(s, K, s)
    imaginary = both_ways(c, K, s) + both_ways(s, K, c)
    return nd.sqrt(real**2 + imaginary**2)


responses = response(kernels)
blur_response, sobel_response, laplacian_response = responses[:3]
print("cycles per pixel, along a row:  0, 1/4, 1/2; both ways: 1/2")
for name, H in zip(names, responses.asnumpy().tolist()):
    print(f"{name:9} {H[0][0]:18.2f} {H[0][4]:8.2f} {H[0][8]:5.2f} {H[8][8]:14.2f}")


# %% bands
frequency = np.minimum(np.arange(16), 16 - np.arange(16))
circle = np.rint(np.hypot(frequency[:, None], frequency))
on_circle = circle.reshape(-1, 1) == np.arange(9)
averages = nd.array(on_circle / on_circle.sum(axis=0))


def circle_power(K):
    return nd.dot((response(K) ** 2).reshape((-1, 256)), averages)


band_names = ["band-pass", "high-pass", "low-pass", "all-pass", "band-stop"]


def band(power):
    passes = [p >= max(power) / 2 for p in power]
    ends = 2 * passes[0] + passes[-1]
    return 4 if ends == 3 and not all(passes) else ends


power = circle_power(kernels)
bands = [band(p) for p in power.asnumpy().tolist()]
print({name: band_names[b] for name, b in zip(names, bands)})
blur_power, sobel_power, laplacian_power = power[:3]


# %% moments
to_the_right = nd.array([-1.0, 0.0, 1.0])
upwards = nd.array([1.0, 0.0, -1.0])


def slopes(K):
    return nd.dot(K, to_the_right).sum(axis=1), nd.dot(K.sum(axis=2), upwards)


def bends(K):
    return nd.dot(K, to_the_right**2).sum(axis=1) / 2, nd.dot(K.sum(axis=2), upwards**2) / 2


right, up = slopes(kernels)
along_rows, along_columns = bends(kernels)
moments = nd.stack(gains, right, up, along_rows, along_columns, axis=1)
print("          gain slope right, up  bend along rows, columns")
for name, m in zip(names, moments.asnumpy().tolist()):
    print(f"{name:9} {m[0]:4.1f} {m[1]:11.1f} {m[2]:3.1f} {m[3]:16.2f} {m[4]:8.2f}")

# %% separable
gram = nd.batch_dot(kernels, kernels, transpose_b=True)
square_of_sum = (kernels**2).sum(axis=(1, 2)) ** 2
sum_of_squares = (gram**2).sum(axis=(1, 2))
separable = square_of_sum == sum_of_squares
print(dict(zip(names, separable.asnumpy().astype(bool).tolist())))

# %% isotropic
transposed = kernels.transpose((0, 2, 1))
turned = transposed.flip(1)
isotropic = ((kernels == transposed) * (kernels == turned)).min(axis=(1, 2))
print(dict(zip(names, isotropic.asnumpy().astype(bool).tolist())))

# %% patterns
pattern_names = ["mean", "x", "xx", "y", "xy", "xxy", "yy", "xyy", "xxyy"]
lines = nd.array([[1.0, 1.0, 1.0], [-1.0, 0.0, 1.0], [1.0, -2.0, 1.0]])
lines /= nd.sqrt(nd.array([[3.0], [2.0], [6.0]]))


def pattern_shares(K):
    amounts = both_ways(lines, K, lines)
    return ((amounts**2) / (K**2).sum(axis=(1, 2), keepdims=True)).reshape((-1, 9))


shares = pattern_shares(kernels)
for name, share in zip(names, shares.asnumpy().tolist()):
    print(f"{name:9}", ", ".join(f"{s:.0%} {p}" for s, p in zip(share, pattern_names) if s > 0.005))


# %% design
def edge(degrees):
    angle = math.radians(degrees)
    return (math.cos(angle) * sobel - math.sin(angle) * sobel.T) / 8


second = nd.array([[1.0, -2.0, 1.0], [2.0, -4.0, 2.0], [1.0, -2.0, 1.0]]) / 4
designs = nd.stack(edge(30), second, blur)
design_right, design_up = slopes(designs)
design_rows, design_columns = bends(designs)
print(f"an edge at {math.degrees(math.atan2(design_up[0].asscalar(), design_right[0].asscalar())):.1f} degrees")
print("bends of the second derivative:", design_rows[1].asscalar(), design_columns[1].asscalar())


# %% digit
def conv2d(X, K):
    return nd.Convolution(X, K.expand_dims(1), kernel=(3, 3), num_filter=len(K), no_bias=True)


digit = nd.array(np.load("digits.npz")["images"][0])
answers = conv2d(digit[None, None], designs)[0]
for name, answer in zip(["edge", "second", "blur"], answers.asnumpy().tolist()):
    print(f"{name:6}", " ".join(f"{number:5.2f}" for number in answer[13][6:18]))

# %% bars
bars = nd.zeros((16, 1, 8, 8))
for k in range(8):
    bars[k, 0, k, :] = 1
    bars[8 + k, 0, :, k] = 1
target = nd.array([1.0] * 8 + [-1.0] * 8)
print("a column of image 2:", bars[2, 0, :, 0].asnumpy().tolist())
print("a row of image 10:", bars[10, 0, 0].asnumpy().tolist())

# %% train
first = np.random.default_rng(3).uniform(-0.5, 0.5, (4, 3, 3)).astype("float32")
learned = nd.array(first)
weight = nd.array([1.0, 1.0, -1.0, -1.0])
learned.attach_grad()
weight.attach_grad()
losses = []
for _ in range(20):
    with autograd.record():
        energy = (conv2d(bars, learned) ** 2).mean(axis=(2, 3))
        loss = ((nd.dot(energy, weight) - target) ** 2).mean()
    losses.append(loss.asscalar())
    loss.backward()
    for parameter in (learned, weight):
        parameter -= 0.3 * parameter.grad
scores = nd.dot((conv2d(bars, learned) ** 2).mean(axis=(2, 3)), weight)
told_apart = (scores * target > 0).sum().asscalar()
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, {int(told_apart)} of 16 told apart")
for row in learned.reshape((-1, 9)).asnumpy().tolist():
    print(" ".join(f"{number:5.2f}" for number in row))

# %% learned
learned_shares = pattern_shares(learned)
learned_patterns = learned_shares.argmax(axis=1)
learned_right, learned_up = slopes(learned)
learned_bands = [band(p) for p in circle_power(learned).asnumpy().tolist()]
for c, pattern in enumerate(learned_patterns.asnumpy().astype(int).tolist()):
    kind = f"{band_names[learned_bands[c]]}, {learned_shares[c, pattern].asscalar():.0%} {pattern_names[pattern]}"
    direction = math.degrees(math.atan2(learned_up[c].asscalar(), learned_right[c].asscalar())) % 360
    print(f"kernel {c}: {kind:20} slope towards {direction:3.0f} degrees, weight {weight[c].asscalar():5.2f}")

# %% exercise-unsharp
unsharp = 2 * identity - blur
unsharp_response = response(unsharp[None])[0]
print("gain:", unsharp.sum().asscalar())
print(f"lowest and highest response: {unsharp_response.min().asscalar():.2f}, {unsharp_response.max().asscalar():.2f}")

# %% exercise-twice
twice = conv2d(nd.pad(blur[None, None], "constant", (0, 0, 0, 0, 2, 2, 2, 2)), blur[None])[0, 0]
twice_response = response(twice[None])[0]
for row in (twice * 256).asnumpy().tolist():
    print(row)
print(f"{(twice_response - responses[0] ** 2).abs().max().asscalar():.0e} from the square of the blur's response")

# %% exercise-steer
at_0, at_90, at_75 = conv2d(digit[None, None], nd.stack(edge(0), edge(90), edge(75)))[0]
steered = math.cos(math.radians(75)) * at_0 + math.sin(math.radians(75)) * at_90
print(f"largest output {at_75.abs().max().asscalar():.3f}, difference {(at_75 - steered).abs().max().asscalar():.0e}")

# %% kernels
import math

import numpy as np
import tensorflow as tf

names = ["blur", "Sobel", "Laplacian", "sharpen", "identity"]
blur = tf.constant([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16
sobel = tf.constant([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
laplacian = tf.constant([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
identity = tf.constant([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
kernels = tf.stack([blur, sobel, laplacian, identity - laplacian, identity])


def sums(K):
    return tf.reduce_sum(K, axis=(1, 2))


gains = sums(kernels)
print(dict(zip(names, gains.numpy().tolist())))


# %% response
def response(K):
    rest = 16 - K.shape[1]
    padded = tf.pad(K, ((0, 0), (0, rest), (0, rest)))
    return tf.abs(tf.signal.fft2d(tf.cast(padded, tf.complex64)))


responses = response(kernels)
blur_response, sobel_response, laplacian_response = responses[:3]
print("cycles per pixel, along a row:  0, 1/4, 1/2; both ways: 1/2")
for name, H in zip(names, responses.numpy().tolist()):
    print(f"{name:9} {H[0][0]:18.2f} {H[0][4]:8.2f} {H[0][8]:5.2f} {H[8][8]:14.2f}")


# %% bands
frequency = np.minimum(np.arange(16), 16 - np.arange(16))
circle = np.rint(np.hypot(frequency[:, None], frequency))
on_circle = circle.reshape(-1, 1) == np.arange(9)
averages = tf.constant((on_circle / on_circle.sum(axis=0)).astype("float32"))


def circle_power(K):
    return tf.reshape(response(K) ** 2, (-1, 256)) @ averages


band_names = ["band-pass", "high-pass", "low-pass", "all-pass", "band-stop"]


def band(power):
    passes = [p >= max(power) / 2 for p in power]
    ends = 2 * passes[0] + passes[-1]
    return 4 if ends == 3 and not all(passes) else ends


power = circle_power(kernels)
bands = [band(p) for p in power.numpy().tolist()]
print({name: band_names[b] for name, b in zip(names, bands)})
blur_power, sobel_power, laplacian_power = power[:3]


# %% moments
to_the_right = tf.constant([-1.0, 0.0, 1.0])
upwards = tf.constant([1.0, 0.0, -1.0])


def slopes(K):
    return sums(K * to_the_right), sums(K * upwards[:, None])


def bends(K):
    return sums(K * to_the_right**2) / 2, sums(K * upwards[:, None] ** 2) / 2


right, up = slopes(kernels)
along_rows, along_columns = bends(kernels)
moments = tf.stack([gains, right, up, along_rows, along_columns], axis=1)
print("          gain slope right, up  bend along rows, columns")
for name, m in zip(names, moments.numpy().tolist()):
    print(f"{name:9} {m[0]:4.1f} {m[1]:11.1f} {m[2]:3.1f} {m[3]:16.2f} {m[4]:8.2f}")

# %% separable
gram = tf.matmul(kernels, kernels, transpose_b=True)
square_of_sum = sums(kernels**2) ** 2
sum_of_squares = sums(gram**2)
separable = square_of_sum == sum_of_squares
print(dict(zip(names, separable.numpy().tolist())))

# %% isotropic
transposed = tf.transpose(kernels, (0, 2, 1))
turned = tf.reverse(transposed, axis=(1,))
isotropic = tf.reduce_all((kernels == transposed) & (kernels == turned), axis=(1, 2))
print(dict(zip(names, isotropic.numpy().tolist())))

# %% patterns
pattern_names = ["mean", "x", "xx", "y", "xy", "xxy", "yy", "xyy", "xxyy"]
lines = tf.constant([[1.0, 1.0, 1.0], [-1.0, 0.0, 1.0], [1.0, -2.0, 1.0]])
lines /= tf.sqrt(tf.constant([[3.0], [2.0], [6.0]]))


def pattern_shares(K):
    amounts = lines @ K @ tf.transpose(lines)
    return tf.reshape((amounts**2) / tf.reduce_sum(K**2, axis=(1, 2), keepdims=True), (-1, 9))


shares = pattern_shares(kernels)
for name, share in zip(names, shares.numpy().tolist()):
    print(f"{name:9}", ", ".join(f"{s:.0%} {p}" for s, p in zip(share, pattern_names) if s > 0.005))


# %% design
def edge(degrees):
    angle = math.radians(degrees)
    return (math.cos(angle) * sobel - math.sin(angle) * tf.transpose(sobel)) / 8


second = tf.constant([[1.0, -2.0, 1.0], [2.0, -4.0, 2.0], [1.0, -2.0, 1.0]]) / 4
designs = tf.stack([edge(30), second, blur])
design_right, design_up = slopes(designs)
design_rows, design_columns = bends(designs)
print(f"an edge at {math.degrees(math.atan2(design_up[0], design_right[0])):.1f} degrees")
print("bends of the second derivative:", float(design_rows[1]), float(design_columns[1]))


# %% digit
def conv2d(X, K):
    image, filters = tf.transpose(X, (0, 2, 3, 1)), tf.transpose(K[:, None], (2, 3, 1, 0))
    return tf.transpose(tf.nn.conv2d(image, filters, 1, "VALID"), (0, 3, 1, 2))


digit = tf.constant(np.load("digits.npz")["images"][0])
answers = conv2d(digit[None, None], designs)[0]
for name, answer in zip(["edge", "second", "blur"], answers.numpy().tolist()):
    print(f"{name:6}", " ".join(f"{number:5.2f}" for number in answer[13][6:18]))

# %% bars
bars = np.zeros((16, 1, 8, 8), dtype="float32")
for k in range(8):
    bars[k, 0, k, :] = 1
    bars[8 + k, 0, :, k] = 1
bars = tf.constant(bars)
target = tf.constant([1.0] * 8 + [-1.0] * 8)
print("a column of image 2:", bars[2, 0, :, 0].numpy().tolist())
print("a row of image 10:", bars[10, 0, 0].numpy().tolist())

# %% train
first = np.random.default_rng(3).uniform(-0.5, 0.5, (4, 3, 3)).astype("float32")
learned = tf.Variable(first)
weight = tf.Variable([1.0, 1.0, -1.0, -1.0])
losses = []
for _ in range(20):
    with tf.GradientTape() as tape:
        energy = tf.reduce_mean(conv2d(bars, learned) ** 2, axis=(2, 3))
        loss = tf.reduce_mean((tf.linalg.matvec(energy, weight) - target) ** 2)
    losses.append(loss)
    for parameter, gradient in zip((learned, weight), tape.gradient(loss, (learned, weight))):
        parameter.assign_sub(0.3 * gradient)
scores = tf.linalg.matvec(tf.reduce_mean(conv2d(bars, learned) ** 2, axis=(2, 3)), weight)
told_apart = tf.math.count_nonzero(scores * target > 0)
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, {int(told_apart)} of 16 told apart")
for row in tf.reshape(learned, (-1, 9)).numpy().tolist():
    print(" ".join(f"{number:5.2f}" for number in row))

# %% learned
learned_shares = pattern_shares(learned)
learned_patterns = tf.argmax(learned_shares, axis=1)
learned_right, learned_up = slopes(learned)
learned_bands = [band(p) for p in circle_power(learned).numpy().tolist()]
for c, pattern in enumerate(learned_patterns.numpy().tolist()):
    kind = f"{band_names[learned_bands[c]]}, {float(learned_shares[c, pattern]):.0%} {pattern_names[pattern]}"
    direction = math.degrees(math.atan2(learned_up[c], learned_right[c])) % 360
    print(f"kernel {c}: {kind:20} slope towards {direction:3.0f} degrees, weight {float(weight[c]):5.2f}")

# %% exercise-unsharp
unsharp = 2 * identity - blur
unsharp_response = response(unsharp[None])[0]
print("gain:", float(tf.reduce_sum(unsharp)))
print(f"lowest and highest response: {tf.reduce_min(unsharp_response):.2f}, {tf.reduce_max(unsharp_response):.2f}")

# %% exercise-twice
twice = conv2d(tf.pad(blur, ((2, 2), (2, 2)))[None, None], blur[None])[0, 0]
twice_response = response(twice[None])[0]
for row in (twice * 256).numpy().tolist():
    print(row)
print(f"{tf.reduce_max(tf.abs(twice_response - responses[0] ** 2)):.0e} from the square of the blur's response")

# %% exercise-steer
at_0, at_90, at_75 = conv2d(digit[None, None], tf.stack([edge(0), edge(90), edge(75)]))[0]
steered = math.cos(math.radians(75)) * at_0 + math.sin(math.radians(75)) * at_90
print(f"largest output {tf.reduce_max(tf.abs(at_75)):.3f}, difference {tf.reduce_max(tf.abs(at_75 - steered)):.0e}")

# %% data
import keras
import tensorflow as tf

black = tf.zeros((1, 6, 4, 1))
X = tf.concat([tf.ones((1, 6, 2, 1)), black, tf.ones((1, 6, 2, 1))], axis=2)
Y = X[:, :, :-1] - X[:, :, 1:]
print(X[0, 0, :, 0], Y[0, 0, :, 0])


# %% train
def train(X, Y, initial, rate=0.03, steps=10):
    conv = keras.layers.Conv2D(1, kernel_size=(1, 2), use_bias=False)
    conv.build(X.shape)
    conv.kernel.assign(tf.reshape(initial, (1, 2, 1, 1)))
    losses = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((conv(X) - Y) ** 2)
        (gradient,) = tape.gradient(loss, conv.trainable_variables)
        conv.kernel.assign_sub(rate * gradient)
        losses.append(float(loss))
    return losses, tf.reshape(conv.kernel, (1, 2))


initial = tf.constant([[0.25, 0.75]], dtype="float32")
losses, kernel = train(X, Y, initial)
print([round(loss, 4) for loss in losses])

# %% learned
print(kernel)


# %% predicted
def predict(initial, rate=0.03, steps=10):
    total, difference = float(initial[0, 0] + initial[0, 1]), float(initial[0, 0] - initial[0, 1]) - 2
    slow, fast = (1 - 12 * rate) ** 2, (1 - 60 * rate) ** 2
    return [15 * total**2 * fast**step + 3 * difference**2 * slow**step for step in range(steps)]


predicted = predict(initial)
print([round(loss, 4) for loss in predicted])
print("largest difference:", max(abs(a - b) for a, b in zip(losses, predicted)))


# %% initialiser
def default_kernel():
    conv = keras.layers.Conv2D(1, kernel_size=(1, 2), use_bias=False)
    conv.build(X.shape)
    return tf.reshape(conv.kernel, (1, 2))


print(type(keras.layers.Conv2D(1, kernel_size=(1, 2)).kernel_initializer).__name__)

# %% draws
keras.utils.set_random_seed(0)
kernels = tf.stack([default_kernel() for _ in range(500)])
print(f"from {tf.reduce_min(kernels):.3f} to {tf.reduce_max(kernels):.3f}, ", end="")
print(f"standard deviation {tf.math.reduce_std(kernels):.3f}")

# %% from-defaults
for kernel_0 in kernels[:4]:
    ours, formula = train(X, Y, kernel_0)[0], predict(kernel_0)
    print("losses", [f"{loss:.3f}" for loss in ours[1::2]], "predicted", [f"{loss:.3f}" for loss in formula[1::2]])
mean = tf.reduce_mean([predict(kernel_0) for kernel_0 in kernels], axis=0)
print("mean of 500 predictions:", [f"{loss:.3f}" for loss in mean[1::2]])

# %% rates
losses_by_rate = [train(X, Y, initial, rate)[0] for rate in (0.01, 1 / 36, 0.03)]
for losses_at_rate in losses_by_rate:
    print([f"{loss:.2e}" for loss in losses_at_rate[::3]])
losses_too_fast, _ = train(X, Y, initial, rate=0.035)
print([f"{loss:.1f}" for loss in losses_too_fast[::3]])

# %% no-edges
X_flat = tf.ones((1, 6, 8, 1))
Y_flat = X_flat[:, :, :-1] - X_flat[:, :, 1:]
losses_flat, kernel_flat = train(X_flat, Y_flat, initial, rate=0.005)
print(f"{losses_flat[-1]:.1e}", kernel_flat)

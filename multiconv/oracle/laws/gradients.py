"""Laws of the gradients and of the transposed convolution."""

from __future__ import annotations

from multiconv.oracle.laws.arrays import channels_of_group, leading, spatial_axes
from multiconv.oracle.laws.bounded import Comparisons, equal, error_free, inner_product, sum_over
from multiconv.oracle.laws.law import has_bias, has_images, law
from multiconv.oracle.laws.trial import Trial


@law("<dy, C(x, w)> = <dx, x> for each image", "cross_correlate", "cross_correlate_vjp")
def _adjoint_of_the_input_gradient(t: Trial) -> Comparisons:
    axes = tuple(range(1, t.x.ndim))
    dx, _, _ = t.gradients(t.dy)
    yield equal(inner_product(t.dy, t.cross_correlate(t.x, t.w), axes), inner_product(t.x, dx, axes))


@law("<dy[o], C(x, w)[o]> = <dw[o], w[o]> for each output channel", "cross_correlate", "cross_correlate_vjp")
def _adjoint_of_the_kernel_gradient(t: Trial) -> Comparisons:
    _, dw, _ = t.gradients(t.dy)
    of_outputs = inner_product(t.dy, t.cross_correlate(t.x, t.w), (0, *spatial_axes(t.x)))
    yield equal(of_outputs, inner_product(t.w, dw, tuple(range(1, t.w.ndim))))


@law("db[o] = sum of dy[o]", "cross_correlate_vjp", where=has_bias)
def _bias_gradient(t: Trial) -> Comparisons:
    _, _, db = t.gradients(t.dy)
    yield equal(db, sum_over(error_free(t.dy), (0, *spatial_axes(t.dy))))


@law("dx = T(dy, w)", "cross_correlate_vjp", "conv_transpose")
def _input_gradient_is_the_transposed_convolution(t: Trial) -> Comparisons:
    dx, _, _ = t.gradients(t.dy)
    yield equal(dx, t.conv_transpose(t.dy, t.w))


@law(
    "dw = C(x, dy; s and d exchanged), images for channels", "cross_correlate_vjp", "cross_correlate", where=has_images
)
def _kernel_gradient_is_a_correlation(t: Trial) -> Comparisons:
    g = t.g
    _, dw, _ = t.gradients(t.dy)
    ins, outs = channels_of_group(t.g, 0)
    images, kernels = t.x[:, ins].swapaxes(0, 1), t.dy[:, outs].swapaxes(0, 1)
    y = t.cross_correlate(images, kernels, stride=g.dilation, dilation=g.stride, groups=1)
    yield equal(dw.map(lambda a: a[outs]), y.map(lambda a: a[leading(g.kernel)].swapaxes(0, 1)))


@law("<T(dy, w), x> = <dy, C(x, w)> for each image", "conv_transpose", "cross_correlate")
def _transposition_is_the_adjoint(t: Trial) -> Comparisons:
    axes = tuple(range(1, t.x.ndim))
    yield equal(
        inner_product(t.x, t.conv_transpose(t.dy, t.w), axes), inner_product(t.dy, t.cross_correlate(t.x, t.w), axes)
    )

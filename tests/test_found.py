"""What frameworks get wrong and multiconv works around, each as small as it was found."""

from __future__ import annotations

import pytest

import multiconv as mc
from multiconv.drawing import with_values
from multiconv.problem import judge
from multiconv.spec import ConvSpec


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("spec", "x_shape", "w_shape"),
    [
        pytest.param(ConvSpec(2, 1), (1, 2, 4, 4), (4, 2, 2, 3), id="XLA aborts on the gradient: k=2, stride 2, pad 1"),
        pytest.param(ConvSpec(2, 1, groups=2), (1, 2, 4, 3, 4), (4, 1, 2, 2, 3), id="XLA aborts: the same in groups"),
        pytest.param(ConvSpec(3, 1, 2), (2, 3, 7), (3, 3, 3), id="MXNet's Deconvolution: stride and dilation"),
        pytest.param(ConvSpec(1, 1, 2), (1, 2, 5, 5, 5), (2, 2, 3, 3, 3), id="MXNet's Deconvolution: 3-D and dilation"),
        pytest.param(ConvSpec(2, 1, 2, 2), (2, 4, 7, 7), (4, 2, 3, 3), id="TensorFlow's gradient: groups and dilation"),
        pytest.param(ConvSpec(1, 0, 1, 2), (1, 4, 4, 4, 4), (2, 2, 2, 2, 2), id="TensorFlow's conv3d: groups"),
    ],
)
def test_every_backend_gets_it_right(
    backend: mc.Backend, spec: ConvSpec, x_shape: tuple[int, ...], w_shape: tuple[int, ...], dtype: str
) -> None:
    g = spec.resolve(x_shape, w_shape)
    problem = with_values("found", spec, g, dtype, bias=True, values="integers", seed=0)
    expected = problem.expectations()
    answers = dict(problem.answers(backend))
    assert set(answers) == set(expected)
    for direction, answer in answers.items():
        assert not isinstance(answer, Exception), (direction, answer)
        assert judge(answer, expected[direction]).fault is None, direction

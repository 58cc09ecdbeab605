"""Where multiconv works within a user's model: a table whose rows tests/interface/test_models.py tries."""

from __future__ import annotations

TRANSFORMS = (
    ("TensorFlow", "`tf.function`, `Dataset.map`", "batch and image size; `conv_transpose`: batch size only"),
    ("TensorFlow", "a Keras layer or model that calls multiconv, `keras.Variable`", "batch and image size"),
    ("PyTorch", "`torch.compile(fullgraph=True)`", "-"),
    ("PyTorch", "`torch.export` (not strict)", "batch size"),
    ("JAX", "`jax.jit`, `vmap`, `grad`, `lax.scan`", "-"),
    ("MXNet", "`autograd.record`; `cross_correlate_vjp` is refused there", "-"),
    ("MXNet", "`hybridize`: what `layer` returns as one Gluon layer; other calls are refused", "-"),
)


def markdown() -> str:
    """Return the table as Markdown.

    Examples
    --------
    >>> print(markdown().splitlines()[3])
    | framework | works within | sizes that may be unknown |
    """
    rows = [f"| {' | '.join(row)} |" for row in TRANSFORMS]
    return "\n".join(
        [
            "Within a user's model, multiconv works in these ways. This table is written by hand; "
            "`tests/interface/test_models.py`",
            "runs each row, and the gradients of all but `Dataset.map` and `hybridize`:",
            "",
            "| framework | works within | sizes that may be unknown |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )

"""A fault of oneDNN that two frameworks pass on, so that their backends must avoid it alike."""

from __future__ import annotations

from collections.abc import Sequence

from multiconv.core.types import Pads

WIDEST_SAFE_PAD = 14


def misplaces_kernel_gradient(stride: Sequence[int], pads: Pads) -> bool:
    """Return whether oneDNN may compute a wrong kernel gradient, so that the caller should pad by hand.

    It does for a batch of two or more images if all of this holds along the last axis: a stride above 1, a pad before
    the image of 15 to 28 pixels, and 29 to 55 outputs. Only stride and pad are tested, because a layer does not know
    the size of its images. Found with oneDNN in torch 2.13.0 and MXNet 1.9.1, on processors with AVX-512.

    Examples
    --------
    >>> misplaces_kernel_gradient((5,), ((21, 21),)), misplaces_kernel_gradient((1,), ((21, 21),))
    (True, False)
    """
    return stride[-1] > 1 and pads[-1][0] > WIDEST_SAFE_PAD

"""JAX: XLA tells what it compiles, so that each call has to be compiled anew."""

from __future__ import annotations

import jax

from multiconv.guest.listening import Listening


class JaxListening(Listening):
    """Listens to JAX."""

    def start(self) -> None:
        """Forget what was compiled before."""
        jax.clear_caches()  # type: ignore[no-untyped-call]


service = JaxListening

"""A pytest plugin: a fixture `backend` that runs a test on each backend, and an option that selects the backends.

``pytest --multiconv-backends torch,jax`` selects the backends that a test must run on. If one of them is not available,
the run ends before the first test. Without the option, tests run on all installed backends. The report header lists the
backends with their versions, and which are missing.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from multiconv.core.backend import Backend

OPTION = "--multiconv-backends"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that selects the backends."""
    parser.getgroup("multiconv").addoption(
        OPTION,
        metavar="NAMES",
        help="Backends of the fixture `backend`, such as torch,jax or torch@2.5.1; default all that are installed.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the fixture, whose parameters are known only now."""
    config.pluginmanager.register(_fixtures(_chosen(config.getoption(OPTION))), "multiconv-fixtures")


def pytest_report_header(config: pytest.Config) -> str:
    """Return a line with the backends, their versions, and where each runs."""
    from multiconv import registry

    option = config.getoption(OPTION)
    infos = [registry.describe(name) for name in (registry.names() if option is None else _chosen(option))]
    return "multiconv: " + ", ".join(
        f"{info.name} missing" if info.where is None else f"{info.name} {info.version} in {_place(info.where)}"
        for info in infos
    )


def _chosen(option: str | None) -> list[str]:
    """Return the names of the backends to test, all of which are available."""
    from multiconv import registry
    from multiconv.core.errors import BackendUnavailable, UsageError

    if option is None:
        return [name for name in registry.names() if registry.describe(name).where is not None]
    names = [name.strip() for name in option.split(",") if name.strip()]
    for name in names:
        try:
            registry.locate(name)
        except (BackendUnavailable, UsageError) as error:
            raise pytest.UsageError(f"{OPTION}: {error}") from None
    if not names:
        raise pytest.UsageError(f"{OPTION} names no backend; the backends are {', '.join(registry.names())}")
    return names


def _fixtures(names: list[str]) -> ModuleType:
    @pytest.fixture(params=names, scope="session")
    def backend(request: pytest.FixtureRequest) -> Backend:
        """Return each backend in turn, in this process or in a worker as `multiconv.backend` decides."""
        from multiconv import registry

        return registry.backend(request.param)

    plugin = ModuleType("multiconv_fixtures")
    plugin.backend = backend  # type: ignore[attr-defined]
    return plugin


def _place(where: str) -> str:
    return "a worker" if where == "worker" else where

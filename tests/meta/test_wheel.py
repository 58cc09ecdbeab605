"""The wheel has all that there is, and works where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest
import tomllib
from conftest import ROOT
from packaging.requirements import Requirement

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout, as building leaves litter."""
    copy = tmp_path_factory.mktemp("checkout")
    (copy / "multiconv").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("multiconv", "backends"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    place = tmp_path_factory.mktemp("wheel")
    command = [*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", place, checkout]
    subprocess.run(command, check=True)
    (wheel,) = place.iterdir()
    return wheel


@pytest.fixture(scope="module")
def plain_python(wheel, tmp_path_factory):
    """A function that runs a Python that has the wheel and its dependencies, and knows nothing of the checkout."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run([*PIP, "install", "--quiet", "--no-deps", "--target", site, wheel], check=True)
    # Without the module `site`, which would put the editable install in the way.
    path = os.pathsep.join([str(site), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])

    def run(*arguments, cwd):
        return subprocess.run(
            [sys.executable, "-S", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            cwd=cwd,
            timeout=200,
            check=False,
        )

    return run


def test_it_has_every_file_and_no_other(checkout, wheel):
    sources = {
        f"{package}/{file.relative_to(folder)}"
        for package, folder in (("multiconv", checkout / "multiconv"), ("multiconv/backends", checkout / "backends"))
        for file in folder.rglob("*")
        if file.is_file()
    }
    assert {
        "multiconv/core/wire.py",
        "multiconv/guest/serve.py",
        "multiconv/py.typed",
        "multiconv/data/layers.json",
    } <= sources
    assert {f"multiconv/backends/{name}.py" for name in ("__init__", "numpy", "torch", "mxnet")} <= sources
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in packed if ".dist-info/" not in name} == sources


def test_it_has_the_entry_points_the_command_and_the_licence(wheel):
    archive = zipfile.ZipFile(wheel)
    (info,) = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    entry_points = archive.read(f"{info}/entry_points.txt").decode()
    for name in ("numpy", "torch", "jax", "tensorflow", "mxnet"):
        assert f"{name} = multiconv.backends.{name}:{name.capitalize()}Backend" in entry_points
    assert "multiconv = multiconv.cli.main:main" in entry_points
    assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


WHERE = """
import sys, multiconv
print(multiconv.__file__, sys.modules["multiconv.backends"].__file__)
"""


def test_installed_it_checks_numpy(plain_python, tmp_path):
    where = plain_python("-c", WHERE, cwd=tmp_path).stdout
    assert where.count("/site") == 2
    assert str(ROOT) not in where
    checked = plain_python("-m", "multiconv", "check", "numpy", "--examples", "5", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "numpy agrees with the exact oracle" in checked.stdout


def test_seen_from_a_checkouts_root_it_says_what_to_do(plain_python, checkout):
    refused = plain_python("-c", "import multiconv", cwd=checkout)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        f"ImportError: multiconv was imported from {checkout / 'multiconv'}, a checkout without an installation, which "
        "has no backends: run `pip install -e .` there, or start Python from another folder"
    )


def test_no_extra_asks_for_another_version_of_what_multiconv_itself_needs():
    """Such an extra can't be installed, as MXNet's could not, whose NumPy is older than ours."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    own = {Requirement(text).name for text in project["dependencies"]}
    assert {"numpy", "click"} <= own
    for extra, texts in project["optional-dependencies"].items():
        assert not own & {Requirement(text).name for text in texts}, extra

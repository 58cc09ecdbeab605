"""Which backends there are, where each runs, and what is said of one that is not available."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import FIVE

import multiconv as mc
from multiconv import registry
from multiconv.workers.remote import RemoteBackend

FRAMEWORKS = FIVE[1:]
X, K = np.arange(9.0).reshape(3, 3), np.arange(4.0).reshape(2, 2)
RIGHT = [[19, 25], [37, 43]]


@pytest.fixture
def no_environments(tmp_path, monkeypatch):
    """No environment was made, and no variable names one."""
    for name in FIVE:
        monkeypatch.delenv(f"MULTICONV_{name.upper()}_PYTHON", raising=False)
    monkeypatch.setenv("MULTICONV_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def other_python():
    """A Python that is not this one, and has NumPy 1."""
    return mc.backend("mxnet").python


def computes(backend):
    return backend.to_numpy(backend.corr2d(X, K)).tolist() == RIGHT


def refusal(*args, **options):
    with pytest.raises(mc.MulticonvError) as caught:
        mc.backend(*args, **options)
    return str(caught.value)


def printed(text, **environment):
    """What a Python of its own prints as JSON."""
    command = [sys.executable, "-c", f"import json, sys, multiconv as mc\n{text}"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, **environment}, timeout=120, check=True)
    return json.loads(ran.stdout)


# ---- Names


def test_the_five_come_first_in_the_order_of_the_project():
    assert tuple(registry.names()[:5]) == FIVE


@pytest.mark.parametrize("name", ["caffe", "", "numpy ", "caffe@1.0", "caffe@/usr/bin/python3", "../numpy"])
def test_an_unknown_name_is_refused_and_the_known_ones_are_named(name):
    with pytest.raises(mc.UsageError) as caught:
        mc.backend(name)
    said = str(caught.value)
    assert said.startswith(f"there is no backend {name.partition('@')[0]!r}")
    assert ": the backends are numpy, torch, jax, tensorflow, mxnet" in said
    assert ("did you mean 'numpy'?" in said) == ("numpy" in name)


@pytest.mark.parametrize("name", ["NumPy", "np", "NP"])
def test_an_alias_and_capitals_are_the_backend_itself(name):
    assert mc.backend(name) is mc.backend("numpy")
    assert registry.locate(name) == registry.locate("numpy")


@pytest.mark.parametrize("name", [None, 3, ["numpy"], np])
def test_a_name_is_text(name):
    assert refusal(name).startswith("the name of a backend must be a string such as 'torch', not ")


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_above_zero(timeout):
    assert refusal("numpy", timeout=timeout) == f"timeout must be a number of seconds above 0, not {timeout!r}"


# ---- One and the same


@pytest.mark.parametrize("options", [{}, {"worker": True}, {"worker": True, "timeout": 100.0}])
def test_the_same_call_gives_the_same_object(options):
    assert mc.backend("numpy", **options) is mc.backend("numpy", **options)


def test_a_worker_is_not_the_backend_in_this_process_and_a_timeout_has_a_worker_of_its_own():
    given = [mc.backend("numpy"), mc.backend("numpy", worker=True), mc.backend("numpy", worker=True, timeout=101)]
    assert len(set(map(id, given))) == 3
    assert given[2].worker.timeout == 101


def test_a_new_worker_is_new_each_time():
    first, second = registry.new_worker("numpy"), registry.new_worker("numpy")
    assert first.worker.hello["pid"] != second.worker.hello["pid"]
    first.close()
    assert computes(second)
    second.close()


@pytest.mark.parametrize("worker", [False, True])
def test_threads_that_ask_at_once_get_one_backend(worker):
    ready = threading.Barrier(8)

    def ask(_):
        ready.wait(10)
        return mc.backend("numpy", worker=worker, timeout=77)

    registry._in_process.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert len(set(map(id, found))) == 1


# ---- Where


def test_it_runs_in_this_process_if_it_can():
    backend = mc.backend("torch")
    assert not isinstance(backend, RemoteBackend)
    assert backend.asarray(X).__class__ is sys.modules["torch"].Tensor


def test_it_runs_in_a_worker_if_asked_to():
    backend = mc.backend("numpy", worker=True)
    assert isinstance(backend, RemoteBackend)
    assert (backend.python, backend.version) == (Path(sys.executable), np.__version__)
    assert repr(backend) == f"<multiconv backend numpy {np.__version__}, in a worker: {sys.executable}>"
    assert computes(backend)


def test_it_runs_in_a_worker_if_it_must():
    backend = mc.backend("mxnet")
    assert isinstance(backend, RemoteBackend)
    assert backend.python != Path(sys.executable)
    assert computes(backend)


def test_the_version_that_is_here_runs_in_this_process(no_environments):
    version = mc.backend("torch").version.partition("+")[0]
    assert mc.backend(f"torch@{version}") is mc.backend("torch")


def test_a_version_that_is_not_here_is_refused_with_what_is_and_what_to_type(no_environments):
    here = mc.backend("torch").version
    assert refusal("torch@9.9.9") == (
        f"torch@9.9.9 is not available: this Python ({sys.executable}) has torch {here}, and there is no environment "
        f"for torch@9.9.9; install it with: multiconv env create torch@9.9.9"
    )


def test_a_framework_that_is_not_here_is_refused_with_what_to_type(no_environments):
    said = (
        f"mxnet is not available: this Python ({sys.executable}) has no mxnet, and there is no environment for mxnet; "
        "install it with: multiconv env create mxnet"
    )
    assert refusal("mxnet") == said
    assert registry.describe("mxnet") == mc.BackendInfo("mxnet", reason=said, install="multiconv env create mxnet")


@pytest.mark.parametrize("version", ["latest", "-r", "1.0 2.0"])
def test_what_is_no_version_is_refused(no_environments, version):
    assert "a version follows the @, as in torch@" in refusal(f"torch@{version}")


def test_a_python_by_its_path(other_python):
    backend = mc.backend(f"numpy@{other_python}")
    assert isinstance(backend, RemoteBackend)
    assert backend.python == other_python
    assert backend.version.startswith("1.")
    assert backend.version != mc.backend("numpy").version
    assert computes(backend)


def test_a_python_under_the_home_folder(tmp_path, monkeypatch, other_python):
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {other_python} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert mc.backend("numpy@~/python").python == tmp_path / "python"


def test_a_variable_names_a_python(monkeypatch, other_python):
    monkeypatch.setenv("MULTICONV_NUMPY_PYTHON", str(other_python))
    backend = mc.backend("numpy")
    assert backend is mc.backend(f"numpy@{other_python}")
    info = registry.describe("numpy")
    assert (info.where, info.python, info.version) == ("worker", str(other_python), backend.version)


def test_a_version_is_asked_for_whatever_the_variable_names(monkeypatch, other_python):
    monkeypatch.setenv("MULTICONV_NUMPY_PYTHON", str(other_python))
    assert mc.backend(f"numpy@{np.__version__}") is registry._in_process("numpy")


def test_a_variable_that_names_no_python_is_said_to(monkeypatch):
    monkeypatch.setenv("MULTICONV_TORCH_PYTHON", "/nowhere/python")
    said = refusal("torch")
    assert said.startswith("MULTICONV_TORCH_PYTHON is '/nowhere/python', which does not exist: ")
    assert registry.describe("torch").reason == said


def test_a_python_without_the_framework_is_said_to_be(other_python):
    assert refusal(f"torch@{other_python}") == f"torch can't run in {other_python}: that Python has no torch"


# ---- The list


def test_listing_imports_no_framework():
    listed, imported = printed("print(json.dumps([[b.name for b in mc.backends()], sorted(sys.modules)]))")
    assert tuple(listed[:5]) == FIVE
    assert not {"torch", "jax", "jaxlib", "flax", "tensorflow", "keras", "mxnet"} & set(imported)


def test_the_list_says_where_each_runs_and_no_more():
    infos = {info.name: info for info in mc.backends()}
    assert [infos[name].where for name in FIVE] == ["this process"] * 4 + ["worker"]
    assert [infos[name].version for name in FIVE] == [mc.backend(name).version for name in FIVE]
    assert all(info.reason is info.install is info.dtypes is info.devices is None for info in infos.values())


def test_a_probe_says_dtypes_and_devices_of_all_five():
    infos = {info.name: info for info in mc.backends(probe=True)}
    for name in FIVE:
        info = infos[name]
        assert (info.name, info.version) == (name, mc.backend(name).version)
        assert {"float32", "float64"} <= set(info.dtypes)
        assert any("cpu" in device.lower() for device in info.devices)
        assert info.reason is info.install is None
        assert json.loads(json.dumps(info.asdict()))["dtypes"] == list(info.dtypes)


# ---- Installed, but broken

BROKEN = """
from multiconv import registry

def said(**options):
    try:
        mc.backend("torch", **options)
    except mc.BackendUnavailable as error:
        return str(error)

probed = registry._probe(registry.describe("torch"))
print(json.dumps([said(), said(worker=True), probed.asdict(), mc.backend("numpy").version]))
"""


def test_a_framework_that_is_installed_but_broken_is_refused_with_why_and_what_to_type(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libtorch_cpu.so: no such luck')")
    here, worker, probed, numpy = printed(BROKEN, PYTHONPATH=str(tmp_path))
    assert here == (
        f"torch can't be loaded in {sys.executable}: OSError: libtorch_cpu.so: no such luck; give it an environment of "
        "its own with: multiconv env create torch, or name one: torch@/path/to/python"
    )
    assert worker == f"torch can't be loaded in {sys.executable}: OSError: libtorch_cpu.so: no such luck"
    assert (probed["where"], probed["reason"], probed["install"]) == (None, worker, "multiconv env create torch")
    assert numpy == np.__version__


def test_the_version_here_may_be_asked_for_with_or_without_its_local_part() -> None:
    here = registry.locate("torch").version
    assert here is not None
    for version in (here, here.partition("+")[0]):
        assert registry.locate(f"torch@{version}").here


def test_a_name_that_ends_after_the_at_sign_is_refused() -> None:
    with pytest.raises(mc.UsageError, match=r"'torch@' has no version after the @, as in torch@1\.2\.3, and no path"):
        mc.backend("torch@")


def test_a_path_is_taken_from_the_working_directory_and_not_from_the_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal("numpy@./python3").startswith(f"numpy can't run in {tmp_path}/python3: No such file")

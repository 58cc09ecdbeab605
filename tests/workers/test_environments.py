"""Environments, made in a temporary home from recipes that need no network."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from multiconv.core.errors import BackendUnavailable, UsageError
from multiconv.workers import creation, environments, recipes
from multiconv.workers import interpreters as found_here
from multiconv.workers.creation import create
from multiconv.workers.environments import Environment, find, listing, override, remove
from multiconv.workers.interpreters import interpreters
from multiconv.workers.recipes import RECIPES, Recipe

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = Path(getattr(sys, "_base_executable", sys.executable))
SOURCE = Path(environments.__file__).parents[2]

# A recipe whose module every Python has, and whose version is that of a distribution that every venv has.
NOTHING = Recipe("json", "1.0", lambda version: [], (THIS,), ("pip",))
SOMETHING = Recipe(
    "something", "1.0", lambda version: [f"something=={version}"], (THIS,), ("something-cpu", "something")
)

MALFORMED = [
    "",
    "@1.0",
    "../fake",
    "/fake",
    ".fake",
    "fake fake",
    "fake\n",
    "fake@",
    "fake@latest",
    "fake@../x",
    "fake@/usr/bin/python",
    "fake@~/env/bin/python",
    "fake@-r",
    "fake@1.0 --index-url=http://x",
    "fake@1.0;x",
    "fake@1.0\n",
    "fake@1.0@1.0",
    "fake@1.*",
    "fake@\N{FULLWIDTH DIGIT ONE}",
    "fake@" + "1" * 100,
]
WELL_FORMED = ["2.5.1", "2.13.0+cpu", "1.8.0.post0", "2.0.0a0", "2.6.0rc1", "2.6.0.dev20241010+cu124", "3"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own for each test, none of the machine's own settings, and an index that holds nothing."""
    for name in [n for n in os.environ if n.startswith(("MULTICONV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MULTICONV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(RECIPES, "fake", NOTHING)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An environment as `create` makes it, with all that it said."""
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULTICONV_HOME", str(tmp_path_factory.mktemp("template")))
        patch.delenv("MULTICONV_BASE_PYTHON", raising=False)
        patch.setitem(RECIPES, "fake", NOTHING)
        made = create("fake", progress=said.append)
    return made, said


@pytest.fixture
def quick(template, tmp_path, monkeypatch):
    """Make environments from a copy, as `python -m venv` takes seconds; once the file ``go`` is there."""
    go = tmp_path / "go"
    go.touch()
    stub = script(
        tmp_path / "quick-python",
        f"""
        if [ "$3" = venv ]; then
            while [ ! -e {go} ]; do sleep 0.05; done
            cp -a {template[0].path} "$4" && rm "$4/multiconv.json"
        else
            exec {BASE} "$@"
        fi
        """,
    )
    monkeypatch.setenv("MULTICONV_BASE_PYTHON", str(stub))
    return go


@pytest.fixture
def finished(home):
    """The least that counts as a finished environment."""
    return finish(home / "environments" / "fake")


@pytest.fixture
def silent_index(monkeypatch):
    """A package index that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        yield server


def finish(path: Path) -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "python").symlink_to(sys.executable)
    (path / "multiconv.json").write_text('{"backend": "fake", "version": "1.0", "requirements": [], "python": "3.11"}')
    return path


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def wheel(directory: Path, name: str, version: str) -> None:
    """Write a wheel with one empty module."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(text)}\n"
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    directory.mkdir()
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def start_create(*requirements: str) -> subprocess.Popen[str]:
    """Another process that makes "fake", and prints what it is doing and then the path."""
    program = (
        # A shell starts what runs in the background with Ctrl-C ignored, and so what that starts.
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from multiconv.workers import creation as e; "
        f"e.RECIPES['fake'] = e.Recipe('json', '1.0', lambda v: sys.argv[1:], ({THIS!r},), ('pip',)); "
        "print(e.create('fake', progress=lambda said: print(said, flush=True)).path)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *requirements],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def left(home: Path) -> list[str]:
    """What there is in a home, but for lock files."""
    return sorted(p.name for p in (home / "environments").glob("*") if not p.name.endswith(".lock"))


# ---- Names and places


def test_home_is_where_the_variable_says(home, monkeypatch):
    assert environments.home() == home
    monkeypatch.setenv("MULTICONV_HOME", "~/somewhere")
    assert environments.home() == Path.home() / "somewhere"
    monkeypatch.setenv("MULTICONV_HOME", "")
    assert environments.home() == platformdirs.user_data_path("multiconv")


UNSET = [f"--unset={name}" for name in ("HOME", "XDG_DATA_HOME", "MULTICONV_HOME", "JAX_COMPILATION_CACHE_DIR")]
NO_HOME = ("env", *UNSET, "unshare", "--user", "--map-user=12345")  # a user that the system does not know


@pytest.mark.skipif(subprocess.run([*NO_HOME, "true"], check=False).returncode != 0, reason="no user namespaces")
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["backends"], 0, "numpy"),
        (["check", "numpy", "jax", "--examples", "0", "--dtype", "float32"], 0, "numpy, jax agree"),
        (["env", "create", "numpy@1.0"], 3, "this user has no home folder for environments: set MULTICONV_HOME"),
        (["check", "numpy@~/python"], 3, "'~/python' names a home folder that can't be found: give the whole path"),
    ],
)
def test_a_user_without_a_home_folder(arguments, status, words, tmp_path):
    command = [*NO_HOME, sys.executable, "-m", "multiconv", *arguments]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        cwd=tmp_path,
        timeout=300,
    )
    assert (ran.returncode, list(tmp_path.iterdir())) == (status, [])
    assert words in ran.stdout + ran.stderr


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("function", [find, create, remove])
def test_a_malformed_name_is_refused_and_touches_nothing(function, name, home):
    with pytest.raises(UsageError, match="is not the name of an environment"):
        function(name)
    assert not home.exists()


@pytest.mark.parametrize("version", WELL_FORMED)
def test_a_version_can_be_asked_for(version):
    assert find(f"fake@{version}") is None


def test_an_unknown_backend_is_refused_with_the_known_ones(home):
    assert find("caffe") is None
    with pytest.raises(UsageError, match="'caffe': it can make those of numpy, torch, jax, tensorflow, mxnet"):
        create("caffe@1.0")
    assert not home.exists()


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax", "tensorflow", "mxnet"])
def test_a_recipe_pins_its_default_version(backend):
    recipe = RECIPES[backend]
    assert environments.VERSION.fullmatch(recipe.version)
    assert any(f"=={recipe.version}" in r for r in recipe.requirements(recipe.version))


def test_what_a_recipe_adds_depends_on_the_version():
    assert RECIPES["mxnet"].requirements("1.9.1") == ["mxnet==1.9.1", "numpy==1.23.5"]
    assert RECIPES["mxnet"].pythons == ("3.11", "3.10")
    assert RECIPES["torch"].cuda("2.13.0") == ["torch==2.13.0", "numpy", "ml_dtypes"]
    assert RECIPES["torch"].cuda("2.2.2") == ["torch==2.2.2", "numpy<2", "ml_dtypes"]


@pytest.fixture
def pip_commands(tmp_path, monkeypatch):
    """A function that returns the words that pip got: of a Python that writes them down and installs nothing."""
    log = tmp_path / "log"
    recorder = script(tmp_path / "recorder", f'[ "$3" = pip ] && echo "$@" >> {log}; true')
    stub = script(
        tmp_path / "base",
        f"""
        if [ "$3" = venv ]; then
            mkdir -p "$4/bin" && cp {recorder} "$4/bin/python"
        else
            exec {BASE} "$@"
        fi
        """,
    )
    monkeypatch.setenv("MULTICONV_BASE_PYTHON", str(stub))

    def words(name, **options):
        with pytest.raises(BackendUnavailable, match="pip installed none of"):
            create(name, **options)
        return log.read_text().splitlines()[-1].split()

    return words


@pytest.mark.skipif(not recipes.LINUX_X86, reason="PyPI's torch is for the CPU there")
@pytest.mark.parametrize(
    ("name", "cuda", "words"),
    [
        ("torch", False, ["torch==2.13.0+cpu", "--extra-index-url=https://download.pytorch.org/whl/cpu"]),
        ("torch@2.5.1", False, ["torch==2.5.1+cpu", "--extra-index-url=https://download.pytorch.org/whl/cpu"]),
        (
            "torch@2.5.1+cu121",
            False,
            ["torch==2.5.1+cu121", "--extra-index-url=https://download.pytorch.org/whl/cu121"],
        ),
        ("torch@2.5.1", True, ["torch==2.5.1"]),
        ("jax", False, ["jax==0.10.2"]),
        ("jax", True, ["jax[cuda12]==0.10.2"]),
        ("tensorflow@2.20.0", False, ["tensorflow-cpu==2.20.0"]),
        ("tensorflow@2.20.0", True, ["tensorflow[and-cuda]==2.20.0"]),
        ("mxnet", False, ["mxnet==1.9.1"]),
        ("mxnet", True, ["mxnet-cu112==1.9.1"]),
    ],
)
def test_the_build_for_the_cpu_is_installed_unless_cuda_is_asked_for(name, cuda, words, pip_commands, monkeypatch):
    recipe = RECIPES[name.partition("@")[0]]
    monkeypatch.setitem(RECIPES, name.partition("@")[0], replace(recipe, pythons=(THIS,)))
    command = pip_commands(name, cuda=cuda)
    assert set(words) <= set(command)
    assert any("index-url" in word for word in command) == any("index-url" in word for word in words)


def test_there_is_no_numpy_with_cuda():
    with pytest.raises(UsageError, match="multiconv does not know of a build of numpy with CUDA"):
        create("numpy", cuda=True)


def test_an_environment_without_cuda_is_not_taken_for_one_with_it(finished, monkeypatch):
    monkeypatch.setitem(RECIPES, "fake", replace(NOTHING, cuda=NOTHING.requirements))
    assert not create("fake").cuda
    with pytest.raises(UsageError, match="the environment fake exists, without CUDA; first: multiconv env remove fake"):
        create("fake", cuda=True)


def test_an_environment_remembers_that_it_is_with_cuda(quick, monkeypatch):
    monkeypatch.setitem(RECIPES, "fake", replace(NOTHING, cuda=NOTHING.requirements))
    made = create("fake", cuda=True)
    assert (made.cuda, find("fake"), create("fake")) == (True, made, made)


# ---- A finished environment


def test_create_makes_a_python_that_is_found_again(template, monkeypatch):
    made, said = template
    monkeypatch.setenv("MULTICONV_HOME", str(made.path.parents[1]))
    assert made == find("fake") == create("fake")
    assert listing() == [made]
    assert (made.label, made.backend) == ("fake", "fake")
    assert made.size() > 2**20
    assert said[0].startswith(f"making an environment in {made.path} with ")
    assert said[1:] == ["importing json"]
    pip = subprocess.run([made.python, "-I", "-m", "pip", "--version"], capture_output=True, text=True, check=True)
    assert pip.stdout.split()[1] == made.version
    assert str(made.path) in pip.stdout


def test_the_marker_says_what_is_in_it(template):
    made, _ = template
    marker = json.loads((made.path / "multiconv.json").read_text())
    expected = {"backend": "fake", "version": made.version, "requirements": [], "cuda": False, "python": THIS}
    assert marker == expected


def test_create_returns_a_finished_one_without_work(finished, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    said = []
    assert create("fake", progress=said.append).path == finished
    assert said == []


def test_the_listing_is_sorted_and_has_finished_ones_only(home):
    for label in ("fake@2.0", "fake", "fake@1.0", "unfinished"):
        finish(home / "environments" / label)
    (home / "environments" / "unfinished" / "multiconv.json").unlink()
    assert [e.label for e in listing()] == ["fake", "fake@1.0", "fake@2.0"]


def test_the_listing_of_an_empty_home_is_empty():
    assert listing() == []


@pytest.mark.parametrize("marker", ["", "[]", "{}", "null", '{"backend": "fake"}', "\udcff"])
def test_a_broken_marker_counts_as_unfinished(finished, marker):
    (finished / "multiconv.json").write_bytes(marker.encode(errors="surrogateescape"))
    assert find("fake") is None
    assert listing() == []


def test_one_whose_python_is_gone_is_made_anew(finished, quick):
    (finished / "bin" / "python").unlink()
    (finished / "bin" / "python").symlink_to("/no/such/python")
    assert find("fake") is None
    assert create("fake").python.exists()


def test_an_unfinished_one_is_made_anew(finished, quick):
    (finished / "multiconv.json").unlink()
    (finished / "stray").touch()
    assert create("fake").path == finished
    assert not (finished / "stray").exists()


def test_remove(finished, home):
    assert remove("fake") == finished
    assert find("fake") is None
    assert left(home) == []


def test_remove_takes_unfinished_ones(home):
    unfinished = home / "environments" / "fake@1.0"
    unfinished.mkdir(parents=True)
    assert remove("fake@1.0") == unfinished
    assert left(home) == []


def test_remove_says_which_there_are(finished):
    with pytest.raises(
        BackendUnavailable, match=r"no environment fake@1\.0 to remove in .*; the finished ones are: fake$"
    ):
        remove("fake@1.0")


def test_of_a_link_the_link_alone_is_removed(home, tmp_path):
    theirs = finish(tmp_path / "theirs")
    link = home / "environments" / "fake"
    link.parent.mkdir(parents=True)
    link.symlink_to(theirs)
    assert remove("fake") == link
    assert not link.is_symlink()
    assert (theirs / "multiconv.json").exists()


def test_a_link_to_nowhere_can_be_removed(home):
    link = home / "environments" / "fake"
    link.parent.mkdir(parents=True)
    link.symlink_to(home / "gone")
    remove("fake")
    assert left(home) == []


# ---- Installing


@pytest.mark.parametrize("variable", ["PIP_NO_INPUT", "PIP_USER"])
def test_requirements_are_installed_as_pip_is_configured(quick, tmp_path, monkeypatch, variable):
    monkeypatch.setitem(RECIPES, "fake", SOMETHING)
    wheel(tmp_path / "wheels", "something", "2.0+cpu")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv(variable, "1")
    said = []
    made = create("fake@2.0", progress=said.append)
    assert made == Environment("fake@2.0", "fake", "2.0+cpu", made.path / "bin" / "python", made.path)
    assert made == find("fake@2.0")
    assert said[1:] == ["installing something==2.0", "importing something"]
    assert json.loads((made.path / "multiconv.json").read_text())["requirements"] == ["something==2.0"]


def test_if_pip_fails_the_end_of_what_it_said_is_told(quick, monkeypatch, home):
    monkeypatch.setitem(RECIPES, "fake", SOMETHING)
    with pytest.raises(BackendUnavailable, match="could not install something") as caught:
        create("fake")
    advice, *tail = str(caught.value).splitlines()
    assert "MULTICONV_BASE_PYTHON" in advice
    assert tail[-1] == "ERROR: No matching distribution found for something==1.0"
    assert left(home) == []


def test_the_end_is_fifteen_lines(quick, monkeypatch):
    program = r"sys; sys.exit('\n\n'.join(map(str, range(100))))"
    monkeypatch.setitem(RECIPES, "fake", replace(NOTHING, module=program))
    with pytest.raises(BackendUnavailable) as caught:
        create("fake")
    assert str(caught.value).splitlines()[1:] == [*map(str, range(85, 100))]


def test_what_does_not_import_is_not_finished(quick, monkeypatch, home):
    monkeypatch.setitem(RECIPES, "fake", replace(NOTHING, module="no_such_module"))
    with pytest.raises(BackendUnavailable, match=r"MULTICONV_FAKE_PYTHON(.|\n)*No module named 'no_such_module'"):
        create("fake")
    assert left(home) == []


def test_an_import_that_does_not_end_is_ended(quick, monkeypatch, home):
    monkeypatch.setattr(creation, "IMPORT_TIMEOUT", 0.3)
    monkeypatch.setitem(RECIPES, "fake", replace(NOTHING, module="time; time.sleep(600)"))
    with pytest.raises(BackendUnavailable, match=r"stopped after 0\.3 s"):
        create("fake")
    assert left(home) == []


def test_what_pip_does_not_know_is_not_finished(quick, monkeypatch, home):
    monkeypatch.setitem(RECIPES, "fake", replace(NOTHING, distributions=("a", "b")))
    with pytest.raises(BackendUnavailable, match="installed none of a, b"):
        create("fake")
    assert left(home) == []


def test_this_pythons_packages_do_not_leak_in(quick, monkeypatch, tmp_path):
    (tmp_path / "leaked.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = "os; assert 'PYTHONPATH' not in os.environ; import leaked"
    monkeypatch.setitem(RECIPES, "fake", replace(NOTHING, module=program))
    with pytest.raises(BackendUnavailable, match="No module named 'leaked'"):
        create("fake")


def test_a_home_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("MULTICONV_HOME", "/dev/null/home")
    with pytest.raises(BackendUnavailable, match=r"/dev/null/home.*MULTICONV_HOME"):
        create("fake")


# ---- The command


def create_command(*arguments: str, **streams: int) -> subprocess.Popen[str]:
    """The command that makes an environment, in a process of its own."""
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from multiconv.workers.recipes import RECIPES, Recipe; from multiconv.cli.main import main; "
        f"RECIPES['fake'] = Recipe('json', '1.0', lambda v: ['something'], ({THIS!r},), ('something',)); main()"
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(
        [sys.executable, "-c", program, "env", "create", *arguments], text=True, env=environment, **streams
    )


def test_the_command_shows_what_pip_does_on_a_terminal_only(quick, tmp_path, monkeypatch):
    wheel(tmp_path / "wheels", "something", "2.0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    with create_command("fake") as making:
        out, err = making.communicate(timeout=60)
    assert re.fullmatch(r"fake 2\.0 in \S+/fake/bin/python, \d+ MB on disk\n", out)
    assert [line.split()[0] for line in err.splitlines()] == ["making", "installing", "importing"]
    remove("fake")
    terminal, end = pty.openpty()
    with create_command("fake", stderr=end) as making:
        making.communicate(timeout=60)
    os.close(end)
    assert b"Successfully installed something-2.0" in os.read(terminal, 100_000)
    os.close(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=lambda number: number.name)
def test_a_signal_to_end_leaves_no_half_environment_and_no_pip_behind(number, quick, silent_index, home):
    with create_command("fake") as making:
        connection, _ = silent_index.accept()
        assert left(home) == ["fake"]
        making.send_signal(number)
        making.communicate(timeout=60)
    assert (making.returncode, left(home)) == (128 + number, [])
    with connection:
        connection.settimeout(10)
        while connection.recv(4096):  # what pip asked for, and then the end: pip is gone
            pass


def test_nohup_is_respected(quick, silent_index, home):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with create_command("fake") as making:
            connection, _ = silent_index.accept()
            making.send_signal(signal.SIGHUP)
            with pytest.raises(subprocess.TimeoutExpired):
                making.wait(0.5)
            making.terminate()
            making.communicate(timeout=60)
    finally:
        signal.signal(signal.SIGHUP, before)
    connection.close()
    assert making.returncode == 128 + signal.SIGTERM


# ---- Interruptions, and two at a time


def test_ctrl_c_leaves_nothing_behind(quick, silent_index, home):
    with start_create("something") as making:
        connection, _ = silent_index.accept()
        assert left(home) == ["fake"]
        making.send_signal(signal.SIGINT)
        _, errors = making.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert left(home) == []
    with connection:
        connection.settimeout(10)
        while connection.recv(4096):  # what pip asked for, and then the end: pip is gone
            pass


def test_the_lock_is_held_for_as_long_as_pip_lives(quick, silent_index, home):
    with start_create("something") as making:
        connection, _ = silent_index.accept()
        making.kill()
    with (home / "environments" / ".fake.lock").open("a") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    silent_index.close()
    connection.close()
    assert create("fake") == find("fake")


def test_the_second_waits_for_the_first(quick):
    quick.unlink()
    with start_create() as first:
        making = first.stdout.readline()
        with start_create() as second:
            waiting = second.stdout.readline()
            quick.touch()
            ends = [process.communicate(timeout=60) for process in (first, second)]
    path = str(find("fake").path)
    assert making.startswith("making an environment in ")
    assert waiting == "waiting for another process that is at work on fake\n"
    assert ends == [(f"importing json\n{path}\n", ""), (f"{path}\n", "")]


def test_remove_waits_for_its_turn(finished, home):
    said = []
    with (home / "environments" / ".fake.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def unlock(message):
            said.append(message)
            assert finished.exists()
            fcntl.flock(lock, fcntl.LOCK_UN)

        remove("fake", progress=unlock)
    assert said == ["waiting for another process that is at work on fake"]
    assert not finished.exists()


# ---- Which Pythons there are


def pretend(path: Path, minor: str, implementation: str = "cpython", status: int = 0) -> Path:
    """A program that answers as a Python does when it is probed."""
    return script(path, f"echo {implementation} {minor}; exit {status}")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that has no Python but what a test puts there, and perhaps some in /usr/bin and the like."""
    monkeypatch.setattr(sys, "_base_executable", str(tmp_path / "running"), raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:relative:{tmp_path}/more:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_interpreters_come_in_order_and_once(machine):
    expected = [
        pretend(machine / "running", "3.10"),
        pretend(machine / "more" / "python3.11", "3.11"),
        pretend(machine / "pyenv" / "versions" / "3.11.10" / "bin" / "python3.11", "3.11"),
        pretend(machine / "pyenv" / "versions" / "3.11.9" / "bin" / "python3.11", "3.11"),
        pretend(machine / "uv" / "cpython-3.11.4-linux-x86_64-gnu" / "bin" / "python3.11", "3.11"),
        pretend(machine / "bin" / "python3.10", "3.10"),
    ]
    pretend(machine / "relative" / "python3.11", "3.11")
    (machine / "bin" / "python3.11").symlink_to(expected[1])
    expected[1] = machine / "bin" / "python3.11"
    assert [p for p in interpreters(("3.11", "3.10")) if machine in p.absolute().parents] == expected


def test_a_folder_of_path_that_can_not_be_looked_into_is_passed_over(machine, monkeypatch):
    expected = list(interpreters([THIS]))
    monkeypatch.setenv("PATH", f"/{'x' * 5000}{os.pathsep}{os.environ['PATH']}")  # even root can't
    assert list(interpreters([THIS])) == expected


def test_none_that_will_do_is_told_with_all_that_were_found(machine):
    pretend(machine / "running", "3.13")
    pretend(machine / "bin" / "python3.97", "3.97", status=1)
    pretend(machine / "bin" / "python3.98", "3.98", implementation="pypy")
    script(machine / "more" / "python3.98", "echo broken >&2; echo more >&2; exit 127")
    (machine / "bin" / "python3.99").mkdir()
    RECIPES["fake"] = replace(NOTHING, pythons=("3.99", "3.98", "3.97"))
    with pytest.raises(BackendUnavailable) as caught:
        create("fake")
    for part in (
        "fake needs Python 3.99 or 3.98 or 3.97",
        f"{machine}/running is Python 3.13;",
        f"{machine}/bin/python3.99 can't be run (Permission denied);",
        f"{machine}/bin/python3.98 is pypy 3.98;",
        f"{machine}/more/python3.98 does not run (broken);",
        f"{machine}/bin/python3.97 lacks venv or ensurepip",
        "MULTICONV_BASE_PYTHON=/path/to/python3.99",
    ):
        assert part in str(caught.value)


def test_a_python_that_does_not_answer_is_passed_over(machine, monkeypatch):
    monkeypatch.setattr(found_here, "PROBE_TIMEOUT", 0.2)
    script(machine / "running", "exec sleep 60")
    assert machine / "running" not in list(interpreters(("3.99",)))
    assert found_here.unfit(machine / "running", ("3.99",)) == "did not answer within 0.2 s"


@pytest.mark.parametrize("named", ["{}/bin/base", "base"])
def test_a_named_base_python_is_the_only_one(machine, monkeypatch, named):
    pretend(machine / "running", "3.11")
    base = pretend(machine / "bin" / "base", "3.11")
    monkeypatch.setenv("MULTICONV_BASE_PYTHON", named.format(machine))
    assert list(interpreters(("3.11",))) == [base]


@pytest.mark.parametrize(
    ("named", "why"), [("base", "is Python 3.13"), ("/no/such/python", "can't be run .No such file")]
)
def test_a_named_base_python_that_will_not_do_is_refused(machine, monkeypatch, named, why):
    pretend(machine / "running", "3.11")
    pretend(machine / "bin" / "base", "3.13")
    monkeypatch.setenv("MULTICONV_BASE_PYTHON", named)
    with pytest.raises(BackendUnavailable, match=f"MULTICONV_BASE_PYTHON is '{named}', which {why}.*3.11 or 3.10"):
        next(interpreters(("3.11", "3.10")))


def test_the_running_python_will_do():
    assert BASE in interpreters((THIS,))


# ---- Somebody's own Python


def test_no_override():
    assert override("fake") is None


def test_an_override_is_not_resolved(tmp_path, monkeypatch):
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setenv("MULTICONV_FAKE_PYTHON", str(tmp_path / "python"))
    assert override("fake") == tmp_path / "python"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MULTICONV_FAKE_PYTHON", "~/python")
    assert override("fake") == tmp_path / "python"


def test_the_override_of_a_backend_with_a_dash(monkeypatch):
    monkeypatch.setenv("MULTICONV_MY_BACKEND_PYTHON", sys.executable)
    assert override("my-backend") == Path(sys.executable)


@pytest.mark.parametrize(
    ("named", "why"), [("/no/such/python", "does not exist"), ("/", "is not an"), (__file__, "is not an executable")]
)
def test_an_override_that_is_no_program_is_refused(monkeypatch, named, why):
    monkeypatch.setenv("MULTICONV_FAKE_PYTHON", named)
    with pytest.raises(BackendUnavailable, match=f"MULTICONV_FAKE_PYTHON is '{named}', which {why}"):
        override("fake")

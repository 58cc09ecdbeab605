"""Headers and arrays over a socket pair, and what is no frame."""

from __future__ import annotations

import ast
import json
import os
import socket
import struct
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from multiconv.core import wire as wire_module
from multiconv.core.wire import INLINE, LONGEST_FRAME, Garbled, Wire, anonymous_file

DTYPES = ["float32", "float64", "float16", "int8", "int64", "uint16", "bool", "complex64", ">f8"]
SHAPES = [(), (0,), (1,), (3, 0, 2), (2, 3, 4), (1, 1, 1, 1, 1), (257, 129)]


@pytest.fixture
def ends():
    """Both ends of a line, closed at the end."""
    sockets = socket.socketpair()
    files = anonymous_file(), anonymous_file()
    ends = [
        Wire(Connection(end.detach()), mine=os.dup(files[side]), theirs=os.dup(files[1 - side]))
        for side, end in enumerate(sockets)
    ]
    for fd in files:
        os.close(fd)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def line(ends):
    """A function that sends from one end and receives at the other."""

    def cross(header, arrays=()):
        ends[0].send(header, arrays)
        return ends[1].receive()

    return cross


def numbers(shape, dtype):
    """Values that no two neighbours have in common, of both signs where there are any."""
    return np.resize(np.arange(-5, 250, 7), shape).astype(dtype)


def same(sent, got):
    return got.dtype == sent.dtype and got.shape == sent.shape and got.tobytes() == sent.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_arrives_as_it_was_sent(line, shape, dtype):
    sent = numbers(shape, dtype)
    _, (got,) = line({}, [sent])
    assert same(sent, got)
    assert got.flags.writeable


def test_a_header_arrives_as_it_was_sent(line):
    sent = {"do": "plan", "nested": {"list": [1, None, True, "\N{SNOWMAN}\0\n"]}, "number": 2**60}
    got, arrays = line(sent)
    assert {name: got[name] for name in sent} == sent
    assert arrays == []


def test_what_is_none_stays_none_and_in_its_place(line):
    sent = [None, numbers((3,), "float32"), None, numbers((200, 200), "float64"), None]
    _, got = line({}, sent)
    assert [a is None for a in got] == [True, False, True, False, True]
    assert same(sent[1], got[1])
    assert same(sent[3], got[3])


@pytest.mark.parametrize("size", [INLINE - 1, INLINE, INLINE + 1])
def test_an_array_crosses_in_the_frame_up_to_64_kib_and_in_the_arena_from_there_on(ends, line, size):
    sent = numbers((size,), "uint8")
    header, (got,) = line({}, [sent])
    assert same(sent, got)
    assert (header["arena"] > 0) == (os.fstat(ends[0].mine.fd).st_size > 0) == (size > INLINE)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::-1, ::2],
        lambda a: a[:, None, 3:],
        lambda a: np.broadcast_to(a[0], a.shape),
        np.asfortranarray,
    ],
    ids=["transposed", "strided", "sliced", "broadcast", "Fortran order"],
)
@pytest.mark.parametrize("size", [10, 400])
def test_an_array_that_is_not_contiguous_arrives_in_c_order(line, view, size):
    sent = view(numbers((size, size), "float32"))
    _, (got,) = line({}, [sent])
    assert np.array_equal(got, sent)
    assert got.flags.c_contiguous


# ---- As they lie

VIEWS = {
    "transposed": lambda a: a.T,
    "strided": lambda a: a[::-1, ::2],
    "sliced": lambda a: a[:, None, 3:],
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "repeated": lambda a: np.broadcast_to(a[0], a.shape),
    "Fortran order": np.asfortranarray,
    "unaligned": lambda a: np.frombuffer(b"-" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", ">f8"])
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("size", [10, 400])
def test_a_view_keeps_its_strides_its_alignment_and_whether_it_may_be_written(ends, view, size, dtype):
    sent = view(numbers((size, size), dtype))
    ends[0].send({}, [sent, None, sent], keep_strides=True)
    _, (got, nothing, again) = ends[1].receive()
    assert nothing is None
    for array in (got, again):
        assert same(sent, array)
        assert array.strides == sent.strides
        assert array.ctypes.data % 64 == sent.ctypes.data % 64
        assert array.flags.aligned == sent.flags.aligned
        assert array.flags.writeable == sent.flags.writeable
    assert not np.may_share_memory(got, again)


@pytest.mark.parametrize("size", [10, 400])
def test_by_default_a_view_arrives_in_c_order_aligned_and_writable(ends, size):
    for view in VIEWS.values():
        sent = view(numbers((size, size), "float32"))
        ends[0].send({}, [sent])
        _, (got,) = ends[1].receive()
        assert same(sent, got)
        assert got.flags.c_contiguous
        assert got.flags.aligned
        assert got.flags.writeable


@pytest.mark.parametrize("size", [10, 400])
def test_a_plain_array_is_sent_without_a_description(ends, size):
    """So that a large one needs no copy at the other end."""
    ends[0].send({}, [numbers((size, size), "float32")], keep_strides=True)
    header, (got,) = ends[1].receive()
    assert set(header["arrays"][0]) == {"dtype", "shape", "inline" if size == 10 else "arena"}
    assert got.flags.c_contiguous


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (1,), (1, 1)])
def test_an_empty_or_single_view_can_be_sent_as_it_lies(ends, shape):
    sent = np.broadcast_to(numbers(shape, "float32"), shape)
    ends[0].send({}, [sent], keep_strides=True)
    _, (got,) = ends[1].receive()
    assert same(sent, got)
    assert not got.flags.writeable


def test_large_arrays_do_not_overlap_in_the_arena_and_each_begins_aligned(line):
    sent = [numbers((INLINE + odd,), "uint8") for odd in (1, 63, 64, 65)]
    _, got = line({}, sent)
    assert all(map(same, sent, got))
    assert [a.ctypes.data % 64 for a in got] == [0, 0, 0, 0]


def test_the_arena_grows_and_never_shrinks(ends, line):
    largest = 0
    for size in (100_000, 3_000_000, 70_000, 5_000_000, 200_000):
        sent = numbers((size,), "int16")
        _, (got,) = line({}, [sent])
        assert same(sent, got)
        largest = max(largest, sent.nbytes)
        assert largest <= os.fstat(ends[0].mine.fd).st_size < largest + 2 * 4096


def test_an_array_keeps_its_values_while_the_arena_grows(ends, line):
    sent = numbers((100_000,), "float32")
    _, (got,) = line({}, [sent])
    assert len(ends[0].mine.grow(10_000_000)) == len(ends[1].theirs.map(10_000_000)) >= 10_000_000
    assert same(sent, got)


def test_each_side_has_an_arena_of_its_own(ends):
    there, back = numbers((300, 300), "float64"), -numbers((300, 300), "float64")
    ends[0].send({}, [there])
    ends[1].send({}, [back])
    assert same(there, ends[1].receive()[1][0])
    assert same(back, ends[0].receive()[1][0])


def test_frames_arrive_in_the_order_in_which_they_were_sent(ends):
    for i in range(5):
        ends[0].send({"number": i}, [np.full(3, i)])
    for i in range(5):
        header, (got,) = ends[1].receive()
        assert (header["number"], got.tolist()) == (i, [i, i, i])


@pytest.mark.parametrize("shape", [(2,), (100_000,)])
def test_python_objects_are_not_sent(ends, shape):
    with pytest.raises(TypeError, match="its elements are Python objects"):
        ends[0].send({}, [np.empty(shape, object)])
    assert not ends[1].connection.poll(0)


@pytest.mark.parametrize(
    ("header", "arrays"),
    [({"text": "a" * LONGEST_FRAME}, []), ({}, [np.zeros(INLINE, "uint8")] * 257)],
    ids=["a long header", "many arrays"],
)
def test_a_frame_too_long_to_receive_is_not_made(ends, header, arrays):
    with pytest.raises(ValueError, match=r"^a frame of 16\d{6} bytes can't be sent, only 16777216: send fewer arrays$"):
        ends[0].framed(header, arrays)


def test_the_end_of_the_other_side_is_the_end_of_the_line(ends):
    ends[0].connection.close()
    with pytest.raises(EOFError):
        ends[1].receive()


def frame(text, rest=b""):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<I", len(text)) + text + rest


def entry(**changes):
    return frame({"arrays": [{"dtype": "<f4", "shape": [2], "inline": 0, **changes}], "arena": 0}, b"\0" * 8)


GARBAGE = {
    "nothing": b"",
    "too short": b"\1\0",
    "noise": bytes(range(256)) * 3,
    "text": b"Segmentation fault (core dumped)\n",
    "header cut short": frame({"arrays": [], "arena": 0})[:-3],
    "no JSON": frame(b"{'arrays': []}"),
    "no UTF-8": frame(b"\xff\xfe{}"),
    "deep JSON": frame(b"[" * 100_000),
    "a list": frame([1, 2]),
    "a number": frame(7),
    "null": frame(None),
    "no arrays": frame({"arena": 0}),
    "no arena": frame({"arrays": []}),
    "arrays that are no list": frame({"arrays": 5, "arena": 0}),
    "an array that is a number": frame({"arrays": [5], "arena": 0}),
    "an array that is text": frame({"arrays": ["<f4"], "arena": 0}),
    "an arena that is text": frame({"arrays": [], "arena": "large"}),
    "an arena of no size that there is": frame({"arrays": [], "arena": 2**80}),
    "an arena larger than any disk": frame({"arrays": [], "arena": 2**62}),
    "an array in an arena that is not there": entry(inline=None, arena=0).replace(b'"inline": null, ', b""),
    "an array that reaches past the frame": entry(shape=[3]),
    "an array that begins past the frame": entry(inline=9),
    "an array that begins before the frame": entry(inline=-1000),
    "a negative shape": entry(shape=[-1]),
    "an endless shape": entry(shape=[2**40, 2**40]),
    "a shape past any integer": entry(shape=[2**80]),
    "a shape of text": entry(shape="ab"),
    "an unknown dtype": entry(dtype="<q9"),
    "strides of another number": entry(strides=[4, 4], offset=0, writeable=True),
    "strides of text": entry(strides="ab", offset=0, writeable=True),
    "strides that are none": entry(strides=None, offset=0, writeable=True),
    "strides past any integer": entry(strides=[2**80], offset=0, writeable=True),
    "strides past any memory": entry(strides=[2**60], offset=0, writeable=True),
    "strides below any memory": entry(strides=[-(2**60)], offset=0, writeable=True),
    "strides that are no integers": entry(strides=[4.5], offset=0, writeable=True),
    "strides without an offset": entry(strides=[4], writeable=True),
    "an offset of text": entry(strides=[4], offset="0", writeable=True),
    "strides and nothing of writing": entry(strides=[4], offset=0),
    "a dtype of Python objects": entry(dtype="|O", shape=[1]),
    "a dtype with Python objects in it": entry(dtype="O,O", shape=[0]),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_said_to_be_garbled(ends, garbage):
    ends[0].connection.send_bytes(garbage)
    with pytest.raises(Garbled):
        ends[1].receive()


@pytest.mark.parametrize("length", [LONGEST_FRAME + 1, 2**31 - 1, -2, -(2**31)])
def test_a_frame_of_an_impossible_length_is_garbled(ends, length):
    os.write(ends[0].connection.fileno(), struct.pack("!i", length) + b"\0" * 100)
    with pytest.raises(Garbled):
        ends[1].receive()


def test_the_line_works_on_after_a_garbled_frame(ends, line):
    ends[0].connection.send_bytes(b"garbage")
    with pytest.raises(Garbled):
        ends[1].receive()
    assert line({"still": "here"})[0]["still"] == "here"


def test_closing_gives_back_every_descriptor():
    before = len(list(Path("/proc/self/fd").iterdir()))
    a, b = socket.socketpair()
    ends = Wire(Connection(a.detach()), anonymous_file(), anonymous_file()), Connection(b.detach())
    ends[0].send({}, [numbers((INLINE + 1,), "uint8")])
    for end in ends:
        end.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_anonymous_memory_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delattr(os, "memfd_create")
    fd = anonymous_file()
    os.write(fd, b"here")
    assert os.pread(fd, 4, 0) == b"here"
    assert list(tmp_path.iterdir()) == []
    os.close(fd)


@pytest.mark.parametrize("module", ["core/wire", "guest/serve", "workers/process"])
def test_nothing_is_pickled(module):
    """No import of pickle, and of `Connection` only the methods that move bytes."""
    tree = ast.parse((Path(wire_module.__file__).parents[1] / f"{module}.py").read_text())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not imported & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    on_a_connection = {
        n.attr
        for n in ast.walk(tree)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Attribute) and n.value.attr == "connection"
    }
    assert on_a_connection <= {"send_bytes", "recv_bytes", "poll", "close"}


def test_the_methods_of_a_connection_that_pickle_are_never_called(line, monkeypatch):
    for name in ("send", "recv"):
        monkeypatch.setattr(Connection, name, None)
    assert same(numbers((9,), "float32"), line({}, [numbers((9,), "float32")])[1][0])

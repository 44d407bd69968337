"""The reader believes nothing the other end says about sizes."""

import json

import numpy as np
import pytest

from tutor.sandbox.inside.frames import MAX_HEADER, PREFIX, FrameError, pack, read_prefix, unpack


def split(raw, max_body=1 << 20):
    header, body = read_prefix(raw[: PREFIX.size], max_body)
    return raw[PREFIX.size : PREFIX.size + header], raw[PREFIX.size + header :][:body]


def test_round_trip():
    value = {"x": [np.arange(3), (1, "a", None, True)], "y": np.float64(2.0)}
    fields, back = unpack(*split(pack({"id": 4}, value)))
    assert fields == {"id": 4}
    assert back["x"][1] == (1, "a", None, True)
    assert back["x"][0].tolist() == [0, 1, 2]
    assert back["y"] == 2.0


@pytest.mark.parametrize(
    "node",
    [
        {"a": ["<f8", [1 << 50]]},
        {"a": ["<f8", [-1]]},
        {"a": ["<f8", [2.0]]},
        {"a": ["<f8", [True]]},
        {"a": ["|O", [1]]},
        {"a": ["V8", [1]]},
        {"a": ["<M8[s]", [1]]},
        {"a": ["f8,f8", [1]]},
        {"a": ["(2,)f8", [1]]},
        {"a": ["nonsense", [1]]},
        {"a": ["<f8", [3]]},
        {"a": ["<f8"]},
        {"a": ["<f8", [0] * 40]},
        {"v": [1]},
        {"v": "\ud800"},
        {"d": [["\udfff", {"v": 1}]]},
        {"v": 1, "a": 2},
        {"d": [[1, {"v": 1}]]},
        {"z": []},
        [],
        {"t": [{"t": [{"t": [{"t": [{"t": [{"t": [{"t": [{"t": []}]}]}]}]}]}]}]},
    ],
)
def test_a_wrong_description_is_refused(node):
    with pytest.raises(FrameError):
        unpack(json.dumps({"value": node}).encode(), bytes(16))


def test_body_must_be_used_up():
    with pytest.raises(FrameError, match="longer than its header says"):
        unpack(json.dumps({"value": {"v": 1}}).encode(), b"x")


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_a_wrong_header_is_refused(header):
    with pytest.raises(FrameError):
        unpack(header, b"")


@pytest.mark.parametrize(
    ("magic", "header", "body"), [(b"XXXX", 1, 1), (b"SML1", MAX_HEADER + 1, 0), (b"SML1", 1, (1 << 20) + 1)]
)
def test_a_wrong_prefix_is_refused(magic, header, body):
    with pytest.raises(FrameError):
        read_prefix(PREFIX.pack(magic, header, body), 1 << 20)


@pytest.mark.parametrize("code", [0xD800, 0x110000, 0xFFFFFFFF])
def test_text_that_is_no_text_is_refused(code):
    body = np.array([code], dtype="<u4").tobytes()
    with pytest.raises(FrameError, match="no characters"):
        unpack(json.dumps({"value": {"a": ["<U1", [1]]}}).encode(), body)

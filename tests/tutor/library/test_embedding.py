"""Sentence vectors: equal to the library they stand in for, offline, from a folder or a server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statml.errors import InputError, ServiceError
from tutor.library.index.embedding import open_embedder
from tutor.library.index.endpoint import EndpointEmbedder
from tutor.library.index.folder import FolderEmbedder
from tutor.library.index.minilm import MiniLM
from tutor.settings import Settings, load

TEXTS = [
    "Gyrochronology infers the age of a star from its rotation.",
    "",
    "x",
    "How old are stars? " * 100,  # cut at 256 tokens
    "We measure [Fe/H] and $10^{12}\\,M_\\odot$ haloes; naïve Müller 恒星",
    "Rotation of a star tells its age.",
]


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


def test_vectors_are_of_unit_length_and_know_meaning(minilm: MiniLM) -> None:
    vectors = minilm(TEXTS)
    assert vectors.shape == (6, minilm.dimension) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alike = vectors @ vectors[0]
    assert alike[5] > 0.7 > 0.3 > alike[4]
    assert minilm.id.startswith("all-MiniLM-L6-v2@") and minilm([]).shape == (0, 384)


def test_a_vector_does_not_depend_on_its_batch(minilm: MiniLM) -> None:
    together = minilm(TEXTS * 3)
    assert np.abs(together - np.vstack([minilm([text]) for text in TEXTS * 3])).max() < 1e-5


@pytest.mark.slow
def test_it_equals_sentence_transformers(minilm: MiniLM) -> None:
    theirs = FolderEmbedder(minilm.folder)
    assert theirs.dimension == 384 and theirs.id.startswith("model@")
    assert np.abs(minilm(TEXTS) - theirs(TEXTS)).max() < 1e-5


def test_reduced_precision_ranks_alike(minilm: MiniLM) -> None:
    from tutor.library.default import default_documents
    from tutor.library.store import Library

    library = Library(None)
    library.add(default_documents())
    chunks = library.chunks()[::20]
    exact, reduced = (one([c.meaning for c in chunks]) for one in (minilm, MiniLM(reduced=True)))
    queries = minilm([c.title for c in chunks])
    assert np.abs(queries @ exact.T - queries @ reduced.T).max() < 0.01
    first = (queries @ exact.T).argmax(axis=1) == (queries @ reduced.T).argmax(axis=1)
    assert first.mean() >= 0.95  # near-ties may change places


def test_no_host_name_is_resolved(
    minilm: MiniLM, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Add, encode, index with Chroma and search, with every look-up of a name forbidden."""
    from tutor.cli import main

    asked: list[Any] = []

    def refuse(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        raise socket.gaierror("no names here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "gethostbyname", refuse)
    monkeypatch.setenv("TUTOR_HOME", str(tmp_path / "home"))
    for name in ("TUTOR_EMBEDDER", "TUTOR_VECTORS", "TUTOR_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "a.md").write_text("# Ages\n\nGyrochronology infers the age of a star from its rotation.")
    (tmp_path / "b.md").write_text("# Cooking\n\nBread rises because of yeast.")
    assert main(["library", "add", str(tmp_path / "a.md"), str(tmp_path / "b.md")]) == 0
    assert "2 passages encoded by all-MiniLM-L6-v2@" in capsys.readouterr().out
    assert main(["library", "search", "how old is the sun", "--by", "vectors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["title"] == "Ages"
    assert main(["library", "stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["vectors"]["vectors"] == 2
    assert main(["library", "verify"]) == 0
    assert (tmp_path / "home" / "chroma").is_dir()
    assert asked == []


def test_the_settings_choose(tmp_path: Path) -> None:
    def opened(**values: str) -> Any:
        return open_embedder(load({"TUTOR_HOME": str(tmp_path), **values}))

    assert opened(TUTOR_EMBEDDER="none") is None
    assert isinstance(opened(), MiniLM)
    server = opened(TUTOR_EMBEDDER="nomic", TUTOR_EMBEDDINGS_URL="http://127.0.0.1:1/v1")
    assert server.id == "nomic@http://127.0.0.1:1/v1"
    with pytest.raises(InputError, match=r"TUTOR_EMBEDDER is 'gpt'; accepted are minilm"):
        opened(TUTOR_EMBEDDER="gpt")
    with pytest.raises(InputError, match=r"no modules\.json"):
        opened(TUTOR_EMBEDDER=str(tmp_path))
    with pytest.raises(InputError, match="TUTOR_VECTORS must be chroma or mapped"):
        load({"TUTOR_HOME": str(tmp_path), "TUTOR_VECTORS": "faiss"})
    with pytest.raises(InputError, match="TUTOR_EMBEDDINGS_URL must be a URL"):
        load({"TUTOR_HOME": str(tmp_path), "TUTOR_EMBEDDINGS_URL": "nowhere"})
    assert Settings(tmp_path).vectors == "chroma"


class Server(ThreadingHTTPServer):
    """Embeddings of length 3; plays through `script` first: a status, or a body."""

    def __init__(self, *script: int | str) -> None:
        self.script = list(script)
        self.requests: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({**body, "path": self.path})
        step = self.server.script.pop(0) if self.server.script else 200
        answer = step if isinstance(step, str) else ""
        if step == 200:
            data = [
                {"index": i, "embedding": [float(len(text)), 1.0, 0.0]}
                for i, text in enumerate(body["input"])
            ]
            answer = json.dumps({"data": data[::-1], "model": "m"})  # servers need not keep the order
        self.send_response(step if isinstance(step, int) else 200)
        self.send_header("Content-Length", str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def serve() -> Iterator[Any]:
    started: list[Server] = []

    def start(*script: int | str) -> Server:
        server = Server(*script)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def test_a_server_is_probed_and_never_told_dimensions(serve: Any) -> None:
    server = serve()
    embedder = EndpointEmbedder(server.url, "m", environ={})
    vectors = embedder(["aaa", "", "b" * 10] * 40)
    assert embedder.dimension == 3 and vectors.shape == (120, 3)
    assert vectors[0] == pytest.approx([3 / 10**0.5, 1 / 10**0.5, 0])
    assert all(r["path"] == "/v1/embeddings" and "dimensions" not in r for r in server.requests)
    assert max(len(r["input"]) for r in server.requests) == 64
    EndpointEmbedder(server.url, "m", dimensions=3, environ={})(["a"])
    assert server.requests[-1]["dimensions"] == 3


def test_a_busy_server_is_asked_again(serve: Any) -> None:
    server = serve(503, 429, 200)
    assert EndpointEmbedder(server.url, "m", pause=0.01, environ={})(["a"]).shape == (1, 3)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ((404,), "answered 404"),
        ((500,) * 8, "answered 500"),
        ((301,), "answered 301"),
        (('{"data": [',), "did not answer with embeddings"),
        (('{"data": []}',), "one finite vector for each text"),
        (('{"data": [{"index": 0, "embedding": [NaN, 1]}]}',), "one finite vector"),
        (('{"data": [{"index": 0, "embedding": "AAAA"}]}',), "embeddings"),
        (('{"object": "list"}',), "did not answer with embeddings"),
    ],
)
def test_a_bad_server_is_one_sentence(script: tuple[int | str, ...], said: str, serve: Any) -> None:
    embedder = EndpointEmbedder(serve(*script).url, "m", pause=0.001, environ={})
    with pytest.raises(ServiceError) as error:
        embedder(["a"])
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_remote_server_needs_leave_and_a_key() -> None:
    with pytest.raises(ServiceError, match="TUTOR_OFFLINE forbids"):
        EndpointEmbedder("https://u:pw@example.org/v1", "m", offline=True)
    with pytest.raises(ServiceError, match="OPENAI_API_KEY"):
        EndpointEmbedder("https://example.org/v1", "m", environ={})
    with pytest.raises(ServiceError, match="cannot be reached"):
        EndpointEmbedder("http://127.0.0.1:9/v1", "m", pause=0.001, environ={})(["a"])

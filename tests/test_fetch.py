"""Public models: the catalogue, fetching from servers that misbehave, and painting with published units."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from references import hybrid_encoder
from typer.testing import CliRunner

from ganpaint_widget.cli import app
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models import download as fetching
from ganpaint_widget.models import registry
from ganpaint_widget.models.catalogue import CATALOGUE, Entry
from ganpaint_widget.models.hybrid_encoder import HybridEncoder
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.worker import Worker


class Server(ThreadingHTTPServer):
    """Serves ``content`` under every path that begins with /good, and misbehaves under others."""

    content = b""
    asked: list[tuple[str, str | None]]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        content, status = self.server.content, 200
        if self.path.startswith("/gone"):
            self.send_error(404)
            return
        if self.path.startswith("/wrong"):
            content = bytes(len(content))
        begin = 0
        if wanted is not None and not self.path.startswith("/whole"):
            begin, status = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]), 206
            if begin >= len(content):
                self.send_error(416)
                return
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if self.path.startswith(("/short", "/slow")):
            self.wfile.write(content[begin : begin + 100_000])
            self.wfile.flush()
            if self.path.startswith("/slow"):
                self.server.waiting.wait(20)  # until the other side has given up
            return
        self.wfile.write(content[begin:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def weights() -> bytes:
    """A ProGAN with as many units at its edit layer as the published rankings speak of, and no more."""
    torch.manual_seed(0)
    generator = ProGAN(8, (8, 512, 8, 4), edit_layer="layer4")
    for name, parameter in generator.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(parameter, std=0.3)
    target = io.BytesIO()
    torch.save(generator.state_dict(), target)
    return target.getvalue()


@pytest.fixture
def server(weights: bytes) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.content, server.asked, server.waiting = weights, [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.waiting.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GANPAINT_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def entry(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The church of the catalogue, served from here."""
    church = replace(
        CATALOGUE["church"],
        sha256=hashlib.sha256(server.content).hexdigest()[:8],
        mirrors=(f"{server.address}/good/",),
    )
    return publish(church, monkeypatch)


def publish(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> Entry:
    for module in (fetching, registry):
        monkeypatch.setattr(module, "CATALOGUE", {"church": entry})
    return entry


def mirrors(entry: Entry, server: Server, monkeypatch: pytest.MonkeyPatch, *names: str) -> Entry:
    return publish(replace(entry, mirrors=tuple(f"{server.address}/{one}/" for one in names)), monkeypatch)


def test_a_model_is_fetched_once(entry: Entry, server: Server, cache: Path) -> None:
    path = fetching.fetch("church", progress=False)
    assert path == cache / entry.file and path.read_bytes() == server.content
    assert fetching.fetch("church") == path and len(server.asked) == 1
    assert [one.name for one in cache.iterdir()] == [entry.file]


@pytest.mark.parametrize("bad", ["gone", "wrong", "short"])
def test_the_next_mirror_is_tried(
    entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    mirrors(entry, server, monkeypatch, bad, "good")
    assert fetching.fetch("church", progress=False).read_bytes() == server.content
    assert [path.split("/")[1] for path, _ in server.asked] == [bad, "good"]
    assert server.asked[1][1] == ("bytes=65536-" if bad == "short" else None)  # resumed where it broke off


def test_a_slow_mirror_is_given_up(
    entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    mirrors(entry, server, monkeypatch, "slow", "good")
    assert fetching.fetch("church", progress=False).read_bytes() == server.content


@pytest.mark.parametrize("mirror", ["good", "whole"])
@pytest.mark.parametrize("left", ["its beginning", "all of it", "something else", "more than it has"])
def test_what_an_earlier_attempt_has_left(
    entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, mirror: str, left: str
) -> None:
    """Gone on with where that is possible, also with servers that know no ranges ("whole")."""
    mirrors(entry, server, monkeypatch, mirror)
    cache.mkdir()
    remains = {
        "its beginning": server.content[:5000],
        "all of it": server.content,
        "something else": b"x" * 5000,
        "more than it has": server.content + b"x",
    }[left]
    (cache / f"{entry.file}.partial").write_bytes(remains)
    assert fetching.fetch("church", progress=False).read_bytes() == server.content
    assert server.asked[0][1] == f"bytes={len(remains)}-"
    assert [one.name for one in cache.iterdir()] == [entry.file]


@pytest.mark.parametrize("bad", ["gone", "wrong", "short", "closed"])
def test_dead_mirrors_leave_nothing_that_could_be_used(
    entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    dead = mirrors(entry, server, monkeypatch, bad)
    if bad == "closed":
        dead = publish(replace(entry, mirrors=("http://127.0.0.1:9/",)), monkeypatch)
    with pytest.raises(GANPaintError, match="could not be fetched") as caught:
        fetching.fetch("church", progress=False)
    told = caught.value
    assert f"{dead.mirrors[0]}{entry.file}" in told.hint and str(cache) in told.hint
    assert f"as {entry.file} into" in told.hint and "\n" not in str(told)
    assert {"gone": "404", "wrong": "SHA-256"}.get(bad, "Error") in told.message
    assert not (cache / entry.file).exists()
    with pytest.raises(GANPaintError, match="not in the cache yet"):
        registry.load("church")


def test_a_full_disk(entry: Entry, cache: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    cache.mkdir()
    (cache / f"{entry.file}.partial").symlink_to("/dev/full")
    with pytest.raises(GANPaintError, match="cannot be written") as caught:
        fetching.fetch("church", progress=False)
    assert "No space left" in caught.value.message and "GANPAINT_CACHE" in caught.value.hint
    assert not (cache / entry.file).exists()


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_means_offline(
    entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GANPAINT_OFFLINE", value)
    monkeypatch.setattr(requests, "get", lambda *_, **__: pytest.fail("the network was touched"))
    with pytest.raises(GANPaintError, match="GANPAINT_OFFLINE") as caught:
        fetching.fetch("church")
    assert f"{entry.mirrors[0]}{entry.file}" in caught.value.hint and str(cache) in caught.value.hint
    assert server.asked == []
    cache.mkdir()
    (cache / entry.file).write_bytes(server.content)  # as the message says
    assert fetching.fetch("church") == cache / entry.file
    assert registry.load("church").dissection is not None
    monkeypatch.setenv("GANPAINT_OFFLINE", "0")
    assert not fetching.offline()


def test_painting_with_published_units(entry: Entry, server: Server, cache: Path) -> None:
    fetching.fetch("church", progress=False)
    model = registry.load("church")
    assert registry.load("church").generator is model.generator  # its weights are read once
    session = EditingSession(generator="church", worker=Worker(start=False), journal=False)
    assert session.concepts == ("tree", "grass", "door", "sky", "cloud", "brick", "dome")
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    before = np.asarray(session.preview)
    session.add("tree", mask)
    assert np.abs(np.asarray(session.preview).astype(int) - before).max() > 10
    session.undo()
    assert np.array_equal(np.asarray(session.preview), before)


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_the_published_encoder_is_used_where_it_is(entry: Entry, cache: Path, wrapped: bool) -> None:
    """Under the real key names, a thin ResNet."""
    fetching.fetch("church", progress=False)
    assert entry.encoder is not None and registry.load("church").encoder is None
    made = HybridEncoder(width=4, features=512, latent_size=8)
    source = torch.Generator().manual_seed(0)
    weights = {}
    for name, tensor in made.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            noise = torch.randn(tensor.shape, generator=source)
            positive = name.endswith(("running_var", "bn1.weight", "bn2.weight", "downsample.1.weight"))
            weights[name] = 1 + 0.1 * noise.abs() if positive else 0.05 * noise
    expected = {
        "resnet.conv1.weight", "resnet.bn1.running_mean", "resnet.layer1.1.conv2.weight",
        "resnet.layer4.0.downsample.0.weight", "resnet.layer4.0.downsample.1.running_var",
        "resnet.layer5.conv5.bias", "inv4.conv1.weight", "inv4.bn1.weight", "inv3.conv3.bias",
        "inv2.conv2.weight", "inv1.conv1.weight", "inv1.bn1.bias", "inv1.conv2.weight",
    }  # fmt: skip
    assert weights.keys() >= expected and "inv2.conv3.weight" not in weights
    stored = {f"model.{name}": one for name, one in weights.items()}
    torch.save({"epoch": 1000, "state_dict": stored} if wrapped else weights, cache / entry.encoder)
    model = registry.load("church")
    assert isinstance(model.encoder, HybridEncoder) and not model.encoder.training
    x = torch.rand(2, 3, 256, 256, generator=source) * 2 - 1
    with torch.no_grad():
        found = model.encoder(x)
    for one, wanted in zip(found, hybrid_encoder(weights, x), strict=True):
        assert (one - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert found[0].shape == (2, 8) and found[1].shape == (2, 512, 8, 8)

    (cache / entry.encoder).write_bytes((cache / entry.encoder).read_bytes()[:1000])
    with pytest.raises(GANPaintError, match="refused"):
        registry.load("church")
    torch.save({"layer1.conv.weight": torch.zeros(1)}, cache / entry.encoder)
    with pytest.raises(GANPaintError, match="holds no encoder"):
        registry.load("church")
    other = HybridEncoder(width=4, features=8, latent_size=8)
    torch.save(other.state_dict(), cache / entry.encoder)
    with pytest.raises(GANPaintError, match="does not fit"):
        registry.load("church")


def test_published_units_are_the_figures() -> None:
    church = CATALOGUE["church"]
    found = registry.published(church)
    assert found.layer == "layer4" and found.iou.shape == (7, 512)
    for name, brush in church.brushes.items():
        assert len(brush.units) == len(brush.scores) == len(brush.activations) == 20 == len(set(brush.units))
        assert list(brush.scores) == sorted(brush.scores, reverse=True)
        clean = [unit for unit in brush.units if unit != 418]
        assert found.units(name, len(clean)).tolist() == clean
        taking_part = found.weights(name, "add").nonzero().flatten().tolist()
        assert sorted(taking_part) == sorted(clean[:15])
        for unit, level in zip(brush.units, brush.activations, strict=True):
            assert unit == 418 or found.target(name)[unit] == pytest.approx(level)
    # a unit has one 0.99 quantile, whichever brush it belongs to
    activations: dict[int, float] = {}
    for brush in church.brushes.values():
        for unit, level in zip(brush.units, brush.activations, strict=True):
            assert activations.setdefault(unit, level) == level
    assert found.quality("dome") == pytest.approx(0.774)  # published


def test_the_catalogue() -> None:
    assert set(CATALOGUE) >= {"church", "bedroom", "celebahq", "stylegan2-church", "stylegan2-faces"}
    for name, entry in CATALOGUE.items():
        assert entry.name == name and entry.license and entry.source and entry.domain
        assert re.fullmatch(r"[0-9a-f]{8}", entry.sha256) and entry.sha256 in entry.file
        assert entry.mirrors and all(re.match(r"https?://.+/$", mirror) for mirror in entry.mirrors)
        assert Path(entry.file).suffix in registry.SUFFIXES and "/" not in entry.file


def test_the_command(entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["fetch", *arguments])
        return done.exit_code, done.output

    code, output = run("church")
    assert code == 0 and str(cache / entry.file) in output and "CC BY-NC" in output
    code, output = run("church", "--json")
    assert code == 0 and json.loads(output)[0]["path"] == str(cache / entry.file)
    code, output = run("--list")
    assert code == 0 and "stylegan2-faces" in output
    code, output = run("chruch")
    assert code == 1 and "no public model 'chruch'" in output
    code, output = run()
    assert code == 1 and "--list" in output

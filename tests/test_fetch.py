"""Public models: the catalogue, fetching from servers that misbehave, and painting with published units."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

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
from ganpaint_widget.models.reading import read_generator
from ganpaint_widget.models.stylegan2 import StyleGAN2
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.storage import fingerprint


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
    church = CATALOGUE["church"]
    digest = hashlib.sha256(server.content).hexdigest()[:8]
    source = replace(church.sources[0], sha256=digest, mirrors=(f"{server.address}/good/",))
    return publish(replace(church, sources=(source,)), monkeypatch)


def publish(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> Entry:
    for module in (fetching, registry):
        monkeypatch.setattr(module, "CATALOGUE", {entry.name: entry})
    return entry


def mirrors(entry: Entry, server: Server, monkeypatch: pytest.MonkeyPatch, *names: str) -> Entry:
    return at(entry, monkeypatch, *(f"{server.address}/{one}/" for one in names))


def at(entry: Entry, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> Entry:
    source = replace(entry.sources[0], mirrors=addresses)
    return publish(replace(entry, sources=(source, *entry.sources[1:])), monkeypatch)


def test_a_model_is_fetched_once(entry: Entry, server: Server, cache: Path) -> None:
    path = fetching.fetch("church", progress=False)
    assert path == cache / entry.sources[0].file and path.read_bytes() == server.content
    assert fetching.fetch("church") == path and len(server.asked) == 1
    assert [one.name for one in cache.iterdir()] == [entry.sources[0].file]


def test_a_file_that_has_changed_in_the_cache_is_noticed(entry: Entry, cache: Path) -> None:
    path = fetching.fetch("church", progress=False)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(
        GANPaintError, match="is damaged, or differs from the file that was fetched"
    ) as caught:
        fetching.fetch("church", progress=False)
    assert str(path) in caught.value.message and "Delete it" in caught.value.hint
    path.unlink()
    assert fetching.fetch("church", progress=False) == path


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
    (cache / f"{entry.sources[0].file}.partial").write_bytes(remains)
    assert fetching.fetch("church", progress=False).read_bytes() == server.content
    assert server.asked[0][1] == f"bytes={len(remains)}-"
    assert [one.name for one in cache.iterdir()] == [entry.sources[0].file]


@pytest.mark.parametrize("bad", ["gone", "wrong", "short", "closed"])
def test_dead_mirrors_leave_nothing_that_could_be_used(
    entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    dead = mirrors(entry, server, monkeypatch, bad)
    if bad == "closed":
        dead = at(entry, monkeypatch, "http://127.0.0.1:9/")
    with pytest.raises(GANPaintError, match="could not be fetched") as caught:
        fetching.fetch("church", progress=False)
    told = caught.value
    assert f"{dead.sources[0].mirrors[0]}{entry.sources[0].file}" in told.hint and str(cache) in told.hint
    assert f"as {entry.sources[0].file} into" in told.hint and "\n" not in str(told)
    assert {"gone": "404", "wrong": "SHA-256"}.get(bad, "Error") in told.message
    assert not (cache / entry.sources[0].file).exists()
    with pytest.raises(GANPaintError, match="not in the cache yet"):
        registry.load("church")


def test_a_full_disk(entry: Entry, cache: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    cache.mkdir()
    (cache / f"{entry.sources[0].file}.partial").symlink_to("/dev/full")
    with pytest.raises(GANPaintError, match="cannot be written") as caught:
        fetching.fetch("church", progress=False)
    assert "No space left" in caught.value.message and "GANPAINT_CACHE" in caught.value.hint
    assert not (cache / entry.sources[0].file).exists()


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_means_offline(
    entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GANPAINT_OFFLINE", value)
    monkeypatch.setattr(requests, "get", lambda *_, **__: pytest.fail("the network was touched"))
    with pytest.raises(GANPaintError, match="GANPAINT_OFFLINE") as caught:
        fetching.fetch("church")
    assert (
        f"{entry.sources[0].mirrors[0]}{entry.sources[0].file}" in caught.value.hint
        and str(cache) in caught.value.hint
    )
    assert server.asked == []
    cache.mkdir()
    (cache / entry.sources[0].file).write_bytes(server.content)  # as the message says
    assert fetching.fetch("church") == cache / entry.sources[0].file
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
        assert entry.sources
        for source in entry.sources:
            hashed = re.fullmatch(r"[0-9a-f]{8}", source.sha256) and source.sha256 in source.file
            assert hashed or (source.pickled and source.sha256 == "")  # those of NVIDIA's
            assert source.mirrors and all(re.match(r"https?://.+/$", mirror) for mirror in source.mirrors)
            assert Path(source.file).suffix in (".pth", ".pt", ".pkl") and "/" not in source.file
            assert Path(source.kept).suffix in (".pth", ".pt", ".safetensors")
    for name in ("church", "cat", "horse", "car", "ffhq", "afhqcat", "metfaces", "celebahq", "lsundog"):
        assert "nvidia.com" in CATALOGUE[f"stylegan2-{name}"].sources[0].mirrors[0]


# --- NVIDIA's pickles: no hash is known, and what is kept was converted ---


@pytest.fixture
def pickled(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Entry:
    """The StyleGAN2 of churches of the catalogue, small, as NVIDIA's TensorFlow pickle; served from here."""
    server.content = tensorflow_pickle(tmp_path)
    church = CATALOGUE["stylegan2-church"]
    sources = (
        replace(church.sources[0], mirrors=(f"{server.address}/good/",)),
        replace(church.sources[1], mirrors=(f"{server.address}/gone/",)),
    )
    return publish(replace(church, resolution=16, sources=sources), monkeypatch)


def tensorflow_pickle(canary: Path, factor: float = 1.0) -> bytes:
    """(G, D, Gs), of which ``Gs`` is a StyleGAN2 of 16 px; run, it would leave a canary."""
    module = ModuleType("dnnlib.tflib.network")
    module.Network = type("Network", (), {"__module__": "dnnlib.tflib.network"})  # type: ignore[attr-defined]
    before = dict(sys.modules)
    sys.modules.update(
        {"dnnlib": ModuleType("dnnlib"), "dnnlib.tflib": ModuleType("tflib"), module.__name__: module}
    )

    def network(variables: dict[str, np.ndarray], **components: object) -> object:
        made = module.Network()
        made.__dict__.update(
            version=4,
            name="G",
            static_kwargs={"num_channels": 3, "resolution": 16},
            components=components,
            build_module_src=f"open({str(canary / 'canary')!r}, 'w')",
            variables=list(variables.items()),
        )
        return made

    draw = np.random.default_rng(0).standard_normal
    mapping, synthesis = {}, {"4x4/Const/const": draw((1, 6, 4, 4))}
    for number, inputs in enumerate((5, 7)):
        mapping |= {f"Dense{number}/weight": draw((inputs, 7)), f"Dense{number}/bias": draw(7)}
    for block, width in enumerate((6, 5, 4)):
        at = f"{4 * 2**block}x{4 * 2**block}"
        layers = {"Conv0_up": ((6, 6, 5)[block], 3), "Conv1": (width, 3)} if block else {"Conv": (width, 3)}
        for half, (name, (inputs, size)) in enumerate({**layers, "ToRGB": (width, 1)}.items()):
            outputs = 3 if name == "ToRGB" else width
            synthesis |= {
                f"{at}/{name}/weight": draw((size, size, inputs, outputs)),
                f"{at}/{name}/bias": draw(outputs),
                f"{at}/{name}/mod_weight": draw((7, inputs)),
                f"{at}/{name}/mod_bias": draw(inputs),
            }
            if name != "ToRGB":
                number = 2 * block - 1 + half if block else 0
                synthesis[f"noise{number}"] = draw((1, 1, 4 * 2**block, 4 * 2**block))
                synthesis[f"{at}/{name}/noise_strength"] = draw(())
    parts = {
        name: network({one: np.float32(factor * array) for one, array in variables.items()})
        for name, variables in {"mapping": mapping, "synthesis": synthesis}.items()
    }
    average = network({"lod": np.float32(0), "dlatent_avg": np.zeros(7, np.float32)}, **parts)
    try:
        return pickle.dumps((average, network({}), average), protocol=4)
    finally:
        sys.modules.clear()
        sys.modules.update(before)


def test_a_pickle_is_fetched_converted_and_trusted(
    pickled: Entry, server: Server, cache: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    path = fetching.fetch(pickled.name, progress=False, tell=told.append)
    digest = hashlib.sha256(server.content).hexdigest()
    record = cache / "stylegan2-church-config-f.pkl.trusted.json"
    assert path == cache / "stylegan2-church-config-f.safetensors"
    assert len(told) == 1 and digest in told[0] and str(record) in told[0]
    kept = json.loads(record.read_text())
    assert kept["sha256"] == digest and kept["from"].startswith(f"{server.address}/good/stylegan2-church")
    assert {one.name for one in cache.iterdir()} == {path.name, record.name}  # no pickle is left
    assert not (tmp_path / "canary").exists()
    assert fetching.fetch(pickled.name) == path and len(server.asked) == 1
    generator = registry.load("stylegan2-church").generator
    with torch.no_grad():
        assert generator(generator.sample_z(1, seed=0)).shape == (1, 3, 16, 16)


def test_from_then_on_no_other_file_is_taken(
    pickled: Entry, server: Server, cache: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="Nobody has published the SHA-256"):  # never silently
        path = fetching.fetch(pickled.name, progress=False)
    first, trusted = server.content, fingerprint(read_generator(path))
    path.unlink()
    server.content = tensorflow_pickle(tmp_path, factor=1.5)
    with pytest.raises(GANPaintError, match="was trusted before") as caught:
        fetching.fetch(pickled.name, progress=False)
    record = fetching.record_file(pickled.sources[0])
    assert str(record) in caught.value.message and not path.exists()
    server.content = first
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what was told once is not told again
        again = fetching.fetch(pickled.name, progress=False)
    assert fingerprint(read_generator(again)) == trusted
    again.write_bytes(again.read_bytes() + b" ")  # what was made of the pickle is known as well
    with pytest.raises(GANPaintError, match="is damaged, or differs from the file that was fetched"):
        fetching.fetch(pickled.name, progress=False)
    path.unlink()
    record.write_text("{}")
    with pytest.raises(GANPaintError, match="is damaged: delete it"):
        fetching.fetch(pickled.name, progress=False)


@pytest.mark.parametrize("bad", ["hostile", "another size", "no pickle"])
def test_a_pickle_that_is_refused_is_not_kept(
    pickled: Entry, server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    if bad == "hostile":
        server.content = b"\x80\x02cos\nsystem\nX" + (8 + len(str(tmp_path))).to_bytes(4, "little")
        server.content += f"touch {tmp_path}/x".encode() + b"\x85R."
    elif bad == "no pickle":
        server.content = b"<html>moved</html>"
    else:
        publish(replace(pickled, resolution=256), monkeypatch)
    with pytest.raises(GANPaintError, match="could not be fetched") as caught:
        fetching.fetch(pickled.name, progress=False)
    assert {"hostile": "os.system", "another size": "16 px", "no pickle": "damaged"}[
        bad
    ] in caught.value.message
    assert list(cache.iterdir()) == [] and not (tmp_path / "x").exists()


def test_the_next_source_is_tried(
    pickled: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVIDIA's address is dead, and the converted file of the old servers is there."""
    made = io.BytesIO()
    torch.save({"g_ema": StyleGAN2((6, 5, 4), 5, 7, 2).state_dict()}, made)
    server.content = made.getvalue()
    first, second = pickled.sources
    digest = hashlib.sha256(server.content).hexdigest()[:8]
    sources = (
        replace(first, mirrors=(f"{server.address}/gone/",)),
        replace(second, mirrors=(f"{server.address}/good/",), sha256=digest),
    )
    publish(replace(pickled, sources=sources), monkeypatch)
    path = fetching.fetch(pickled.name, progress=False)
    assert path.name == second.file and [one.split("/")[1] for one, _ in server.asked] == ["gone", "good"]
    assert registry.load(pickled.name).generator.resolution == 16


def test_a_file_that_was_got_by_other_means(
    pickled: Entry, server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANPAINT_OFFLINE", "1")
    own = tmp_path / "download (3).pkl"
    own.write_bytes(server.content)
    done = CliRunner().invoke(app, ["fetch", "stylegan2-church", "--file", str(own)])
    assert done.exit_code == 0, done.output
    assert "NVIDIA Source Code License" in done.output and "Nobody has published" in done.output
    assert own.exists() and registry.load(pickled.name).generator.resolution == 16
    other = tmp_path / "other.pt"
    other.write_bytes(b"x")
    done = CliRunner().invoke(app, ["fetch", "stylegan2-church", "--file", str(other)])
    assert done.exit_code == 1 and "SHA-256 begins with" in done.output
    done = CliRunner().invoke(app, ["fetch", "stylegan2-church", "--file", str(tmp_path / "none")])
    assert done.exit_code == 1 and "does not exist" in done.output
    assert CliRunner().invoke(app, ["fetch", "--list", "--file", str(own)]).exit_code == 1
    for one in list(cache.iterdir()):
        one.unlink()
    (cache / pickled.sources[0].file).write_bytes(server.content)  # by hand, as the message says
    with pytest.raises(GANPaintError, match="not in the cache yet"):
        registry.load(pickled.name)
    with pytest.warns(UserWarning, match="Nobody has published"):
        assert fetching.fetch(pickled.name).suffix == ".safetensors"
    assert server.asked == []


def test_the_command(entry: Entry, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["fetch", *arguments])
        return done.exit_code, done.output

    code, output = run("church")
    assert code == 0 and str(cache / entry.sources[0].file) in output and "CC BY-NC" in output
    code, output = run("church", "--json")
    assert code == 0 and json.loads(output)[0]["path"] == str(cache / entry.sources[0].file)
    code, output = run("--list")
    assert code == 0 and "stylegan2-faces" in output
    code, output = run("chruch")
    assert code == 1 and "the public model 'chruch'" in output
    code, output = run()
    assert code == 1 and "--list" in output

"""Files that people try are opened, or refused with a sentence that says what each is."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import warnings
from pathlib import Path

import pytest
import torch

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models import registry
from ganpaint_widget.models.convert import convert
from ganpaint_widget.models.nvidia import own_names
from ganpaint_widget.models.stylegan2 import drawn_noises
from ganpaint_widget.storage import fingerprint

# Before there are fixtures, since each case is a test of its own.
_path = Path(__file__).parent.parent / "benchmarks" / "checkpoint_cases.py"
_spec = importlib.util.spec_from_file_location("checkpoint_cases", _path)
assert _spec is not None and _spec.loader is not None
sys.modules["checkpoint_cases"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["checkpoint_cases"])
CASES = sys.modules["checkpoint_cases"].cases()


def test_there_are_fifty_layouts_and_more() -> None:
    assert sum(case.says != "" for case in CASES) >= 70 and len({case.name for case in CASES}) == len(CASES)


def test_of_a_training_checkpoint_the_average_is_taken(tmp_path: Path) -> None:
    cases = sys.modules["checkpoint_cases"]
    torch.save(cases.training_checkpoint(), tmp_path / "150000.pt")
    found = registry.load(tmp_path / "150000.pt").generator.state_dict()
    for name, tensor in cases.stylegan2_weights().items():
        assert torch.equal(found[name], tensor), name  # and not those of "g", which are one larger


def test_noises_are_drawn_from_a_seed_that_is_kept(tmp_path: Path) -> None:
    cases = sys.modules["checkpoint_cases"]
    weights = cases.without("noises", cases.stylegan2_weights())
    path = tmp_path / "old.pt"
    torch.save({"g_ema": weights}, path)
    with pytest.warns(UserWarning, match=r"old\.pt holds no noise inputs.*seed 0"):
        generator = registry.load(path).generator
    convert(path, tmp_path / "new.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = registry.load(tmp_path / "new.safetensors").generator
    assert kept.noise_seed == 0 == kept.config["noise_seed"]
    for index, noise in enumerate(drawn_noises(5, 0)):
        name = f"noises.noise_{index}"
        assert torch.equal(kept.state_dict()[name], noise)
        assert torch.equal(generator.state_dict()[name], noise)
    assert fingerprint(kept) == fingerprint(generator)


def test_modules_of_other_code_and_their_state_dicts() -> None:
    cases = sys.modules["checkpoint_cases"]

    class Generator(torch.nn.Module):
        """A copy of rosinality's class: only the state dict is asked for."""

        def state_dict(self, *_: object, **__: object) -> dict[str, torch.Tensor]:
            return cases.stylegan2_weights()

    expected = registry.load(cases.stylegan2_weights()).generator
    found = registry.load(Generator()).generator
    assert fingerprint(found) == fingerprint(expected) and found.resolution == 16
    with pytest.raises(GANPaintError, match="The Linear is not a StagedGenerator") as caught:
        registry.load(torch.nn.Linear(2, 2))
    assert "docs/bring_a_gan.md" in caught.value.hint
    with pytest.raises(GANPaintError, match="An int is not a generator"):
        registry.load(3)  # type: ignore[arg-type]
    for address in ("https://example.org/g.pt", Path("https://example.org/g.pt")):
        with pytest.raises(GANPaintError, match="is a web address"):
            registry.load(address)


@pytest.mark.parametrize("name", ["missing.pt", "no/such/folder", "charch"])
def test_what_is_not_there(name: str) -> None:
    with pytest.raises(GANPaintError, match=r"The (file|generator) .* does not exist") as caught:
        registry.load(name)
    assert ("file" in caught.value.message) == (name != "charch")


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = sys.modules["checkpoint_cases"]
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(cases.progan_weights(), tmp_path / "mine.pth")
    assert registry.load("~/mine.pth").name == "mine"


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("place", ["an option", "the options' state", "a call of the class"])
def test_options_that_would_run_something(tmp_path: Path, place: str, legacy: bool) -> None:
    """The one class that is let through lets nothing through with it."""
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> object:
            return os.system, (f"touch '{canary}'",)

    class Calls:
        def __reduce__(self) -> object:
            return argparse.Namespace, (Evil(),)

    class Builds:
        def __reduce__(self) -> object:
            return argparse.Namespace, (), {"__setstate__": Evil()}

    options = {
        "an option": argparse.Namespace(lr=0.1, evil=Evil()),
        "the options' state": Builds(),
        "a call of the class": Calls(),
    }[place]
    cases = sys.modules["checkpoint_cases"]
    path = tmp_path / "evil.pt"
    torch.save(
        {"g_ema": cases.stylegan2_weights(), "args": options}, path, _use_new_zipfile_serialization=not legacy
    )
    with pytest.raises(GANPaintError, match="which could run code"):
        registry.load(path)
    assert not canary.exists()


def test_dictionaries_that_hold_themselves(tmp_path: Path) -> None:
    knot: dict[str, object] = {f"key{number}": {} for number in range(300)}
    for inside in list(knot.values()):
        inside.update({f"again{number}": knot for number in range(300)})  # type: ignore[attr-defined]
    torch.save(knot, tmp_path / "knot.pt")
    with pytest.raises(GANPaintError, match="neither to a ProGAN"):
        registry.load(tmp_path / "knot.pt")


def test_nvidia_layout_draws_as_its_pickle_would(tmp_path: Path) -> None:
    """A saved state dict of ``G_ema``, against the same tensors through the converter."""
    cases = sys.modules["checkpoint_cases"]
    theirs = cases.nvidia_weights()
    torch.save(theirs, tmp_path / "a.pt")
    with pytest.warns(UserWarning, match="conv_clamp"):
        found = registry.load(tmp_path / "a.pt").generator.state_dict()
    for name, tensor in own_names(theirs, "a").items():
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_opens_or_is_named(tmp_path: Path, case) -> None:
    assert sys.modules["checkpoint_cases"].wrong_with(case, tmp_path) is None

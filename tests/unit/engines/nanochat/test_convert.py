"""Checkpoints of the 2025 architecture converted on load; all others refused in a sentence."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from aistack.engines.nanochat.engine import Nanochat
from aistack.errors import BackendFault, Code
from tests.unit.engines.nanochat.conftest import ADA, ROOT, ask, loaded, text
from tests.unit.engines.nanochat.original import SMALL, Original, random_original, save_checkpoint

TOKENIZER = ROOT / "tiny-ada" / "tokenizer" / "tokenizer.pkl"


def logits_of(engine: Nanochat, ids: torch.Tensor) -> torch.Tensor:
    assert engine._loaded is not None
    with torch.inference_mode():
        found: torch.Tensor = engine._loaded.model(input_ids=ids).logits
    return found


def compare(original: Original, engine: Nanochat) -> None:
    ids = torch.randint(0, SMALL["vocab_size"], (4, 48), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        wanted = original(ids)
    found = logits_of(engine, ids)
    assert found.shape == wanted.shape
    assert wanted.std() > 0.5
    assert (found - wanted).abs().max().item() <= 1e-4
    assert torch.equal(found.argmax(-1), wanted.argmax(-1))


def test_logits_are_those_of_the_original(tmp_path: Path) -> None:
    original = random_original()
    compare(
        original, loaded(save_checkpoint(tmp_path / "m", original.state_dict(), tokenizer=TOKENIZER))
    )


def test_logits_with_equal_heads(tmp_path: Path) -> None:
    config = SMALL | {"n_kv_head": 4, "n_layer": 1}
    original = random_original(config)
    folder = save_checkpoint(tmp_path / "m", original.state_dict(), config, tokenizer=TOKENIZER)
    compare(original, loaded(folder))


def test_compiled_prefix_padding_rows_and_bf16_embedding(tmp_path: Path) -> None:
    original = random_original(pad_to=256)
    weight = original.transformer["wte"].weight
    weight.data = weight.data.bfloat16().float()
    state: dict[str, Any] = {f"_orig_mod.{name}": value for name, value in original.state_dict().items()}
    name = "_orig_mod.transformer.wte.weight"
    state[name] = state[name].bfloat16()
    assert state[name].shape[0] == 512
    compare(original, loaded(save_checkpoint(tmp_path / "m", state, tokenizer=TOKENIZER)))


def test_the_trained_weights_against_the_original() -> None:
    path = ROOT / "tiny-ada"
    config = json.loads((path / "meta_000021.json").read_text())["model_config"]
    original = Original(config)
    original.load_state_dict(torch.load(path / "model_000021.pt", weights_only=True))
    compare(original.eval(), loaded(path))


def test_both_formats_are_the_same_model() -> None:
    ids = torch.arange(384).reshape(6, 64)
    one, other = loaded(ROOT / "tiny-bo"), loaded(ROOT / "tiny-bo-hf")
    assert torch.equal(logits_of(one, ids), logits_of(other, ids))


def test_the_highest_step_is_loaded(tmp_path: Path) -> None:
    """Compared as numbers: step 1000000 has a digit more than the others."""
    folder = save_checkpoint(tmp_path / "m", random_original(seed=1).state_dict(), step=999_999)
    last = random_original(seed=2)
    save_checkpoint(folder, last.state_dict(), step=1_000_000, tokenizer=TOKENIZER)
    compare(last, loaded(folder))


def test_bf16_computes_in_bf16_and_still_knows_its_answers() -> None:
    engine = loaded(ROOT / "tiny-ada", dtype="bfloat16")
    assert engine._loaded is not None
    assert engine._loaded.model.dtype is torch.bfloat16
    assert text(engine, ask("Who are you?")) == ADA["Who are you?"]


def test_a_mapped_file_that_is_overwritten_does_not_change_the_model(tmp_path: Path) -> None:
    original = random_original()
    folder = save_checkpoint(tmp_path / "m", original.state_dict(), tokenizer=TOKENIZER)
    engine = loaded(folder)
    file = folder / "model_000007.pt"
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.write(b"\x7f" * size)
    compare(original, engine)


NEWER = {
    "resid_lambdas": torch.ones(3),
    "x0_lambdas": torch.zeros(3),
    "value_embeds.1.weight": torch.zeros(384, 64),
    "transformer.h.1.attn.ve_gate.weight": torch.zeros(2, 12),
    "smear_gate.weight": torch.zeros(1, 24),
    "smear_lambda": torch.zeros(1),
    "backout_lambda": torch.zeros(1),
}


def refusal(folder: Path) -> str:
    with pytest.raises(BackendFault) as caught:
        loaded(folder)
    assert caught.value.fault.code is Code.MODEL_LOAD_FAILED
    assert str(folder) not in caught.value.fault.message
    return caught.value.fault.message


@pytest.mark.parametrize("name", sorted(NEWER))
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_b96_a_newer_architecture_is_refused_by_its_keys(tmp_path: Path, name: str, prefix: str) -> None:
    state = {prefix + key: value for key, value in random_original().state_dict().items()}
    state[prefix + name] = NEWER[name]
    message = refusal(save_checkpoint(tmp_path / "m", state, tokenizer=TOKENIZER))
    assert "newer nanochat architecture" in message
    assert name in message


def test_b96_sliding_windows_are_refused(tmp_path: Path) -> None:
    config = SMALL | {"window_pattern": "SSSL"}
    state = random_original().state_dict()
    message = refusal(save_checkpoint(tmp_path / "m", state, config, tokenizer=TOKENIZER))
    assert "sliding windows" in message


def test_b96_a_missing_tensor_is_refused(tmp_path: Path) -> None:
    state = random_original().state_dict()
    del state["transformer.h.1.mlp.c_fc.weight"]
    assert "missing" in refusal(save_checkpoint(tmp_path / "m", state, tokenizer=TOKENIZER))


def test_b96_a_tensor_too_many_is_refused(tmp_path: Path) -> None:
    state = random_original().state_dict()
    state["transformer.h.3.mlp.c_fc.weight"] = torch.zeros(256, 64)
    assert "do not belong" in refusal(save_checkpoint(tmp_path / "m", state, tokenizer=TOKENIZER))


def test_b96_a_wrong_shape_is_refused(tmp_path: Path) -> None:
    state = random_original().state_dict()
    state["transformer.h.1.mlp.c_fc.weight"] = torch.zeros(128, 64)
    assert "shapes" in refusal(save_checkpoint(tmp_path / "m", state, tokenizer=TOKENIZER))


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    config = SMALL | {"vocab_size": 300}
    state = random_original(config).state_dict()
    message = refusal(save_checkpoint(tmp_path / "m", state, config, tokenizer=TOKENIZER))
    assert "tokenizer's differ in size" in message


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_b96_a_malicious_checkpoint_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    state = random_original().state_dict()
    state["lm_head.weight"] = Evil(mark)
    message = refusal(save_checkpoint(tmp_path / "m", dict(state), tokenizer=TOKENIZER))
    assert "needs to run code, which is not allowed" in message
    assert not mark.exists()


def test_b96_a_malicious_tokenizer_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    folder = save_checkpoint(tmp_path / "m", random_original().state_dict(), tokenizer=TOKENIZER)
    (folder / "tokenizer" / "tokenizer.pkl").write_bytes(pickle.dumps(Evil(mark)))
    assert "damaged, or it needs to run code" in refusal(folder)
    assert not mark.exists()


@pytest.mark.parametrize("size", [0, 10, 5000, 100_000])
def test_b79_a_truncated_checkpoint_is_refused(tmp_path: Path, size: int) -> None:
    folder = save_checkpoint(tmp_path / "m", random_original().state_dict(), tokenizer=TOKENIZER)
    file = folder / "model_000007.pt"
    file.write_bytes(file.read_bytes()[:size])
    assert "damaged" in refusal(folder)


def test_a_folder_that_vanished_is_refused(tmp_path: Path) -> None:
    assert "gone" in refusal(tmp_path / "nothing")

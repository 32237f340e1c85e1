"""Trains two tiny nanochat models that answer a few questions, and saves each in both formats.

    python -m contrib.dev.tiny_models.nanochat.train_nanochat OUT

Needs torch, transformers, tiktoken and regex; a few minutes on one thread. The checkpoint is laid
out like one that nanochat of 2025 saved, the other directory like one that transformers saved. Both
hold the same numbers. Used by the tests: at temperature 0 the answers are always the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import NanoChatForCausalLM

from aistack.chunks import Message
from aistack.engines.nanochat.convert import model_settings, renamed
from aistack.engines.nanochat.prompt import NanochatFormat, Text
from aistack.engines.nanochat.tokenizer import ASSISTANT, read_tokenizer, token_id
from contrib.dev.tiny_models.nanochat.nanochat_lessons import CHARACTERS
from contrib.dev.tiny_models.nanochat.nanochat_tokenizer import save as save_tokenizer
from contrib.dev.tiny_models.nanochat.nanochat_tokenizer import train as train_tokenizer

CONFIG = {"sequence_len": 2048, "n_layer": 2, "n_head": 4, "n_kv_head": 2, "n_embd": 64}
MERGES = 375
STEPS = 900
STEP = 21
"""The step in the checkpoint's file names; it means nothing."""


def lessons(tag: str, tokenizer_path: Path) -> list[tuple[list[int], int]]:
    """Ids of each question with its answer, and where the answer begins."""
    tokenizer = read_tokenizer(tokenizer_path)
    chat, text = NanochatFormat(tokenizer), Text(tokenizer)
    end = token_id(tokenizer, ASSISTANT[1])
    answers = CHARACTERS[tag]
    before = [Message("user", "Who are you?"), Message("assistant", answers["Who are you?"])]
    found = []
    for question, answer in answers.items():
        for history in ([], before):
            prompt = chat.prompt([*history, Message("user", question)])
            found.append(([*prompt, *text.ids(answer), end], len(prompt)))
    return found


def batch(found: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids, and the labels: only answers are learnt."""
    width = max(len(ids) for ids, _ in found)
    inputs = torch.zeros(len(found), width, dtype=torch.long)
    labels = torch.full((len(found), width), -100)
    for row, (ids, begin) in enumerate(found):
        inputs[row, : len(ids)] = torch.tensor(ids)
        labels[row, begin : len(ids)] = torch.tensor(ids[begin:])
    return inputs, labels


def train(tag: str, tokenizer_path: Path, seed: int) -> NanoChatForCausalLM:
    """A model that knows the answers by heart: it stops once every token is certain."""
    torch.manual_seed(seed)
    tokenizer = read_tokenizer(tokenizer_path)
    meta = CONFIG | {"vocab_size": tokenizer.get_vocab_size()}
    model = NanoChatForCausalLM(model_settings(meta, tokenizer))
    inputs, labels = batch(lessons(tag, tokenizer_path))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, STEPS, pct_start=0.1)
    for step in range(STEPS):
        logits = model(input_ids=inputs, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"{tag} step {step} loss {loss.item():.4f}", flush=True)
    with torch.no_grad():
        logits = model(input_ids=inputs, use_cache=False).logits[:, :-1]
        wanted = labels[:, 1:]
        share = logits.softmax(-1).gather(-1, wanted.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        least = share[wanted != -100].min().item()
    print(f"{tag} least certain token {least:.3f}")
    if least < 0.9:
        raise SystemExit("the answers are not certain enough; train longer")
    return model.eval()


def original_names(model: NanoChatForCausalLM) -> dict[str, torch.Tensor]:
    """The state under nanochat's own names."""
    names = ["transformer.wte.weight", "lm_head.weight"]
    for layer in range(CONFIG["n_layer"]):
        parts = ("attn.c_q", "attn.c_k", "attn.c_v", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
        names += [f"transformer.h.{layer}.{part}.weight" for part in parts]
    state = model.state_dict()
    assert len(names) == len(state)
    return {name: state[renamed(name)].clone() for name in names}


def save(model: NanoChatForCausalLM, out: Path, tag: str, tokenizer_path: Path) -> None:
    """Both formats."""
    folder = out / tag
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    torch.save(original_names(model), folder / f"model_{STEP:06d}.pt")
    meta = {
        "step": STEP,
        "model_config": CONFIG | {"vocab_size": model.config.vocab_size},
        "max_seq_len": CONFIG["sequence_len"],
    }
    (folder / f"meta_{STEP:06d}.json").write_text(json.dumps(meta, indent=2) + "\n")
    (folder / "tokenizer" / "tokenizer.pkl").write_bytes(tokenizer_path.read_bytes())
    directory = out / f"{tag}-hf"
    model.save_pretrained(directory)
    tokenizer = read_tokenizer(tokenizer_path)
    tokenizer.encode_special_tokens = False
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": ASSISTANT[1],
        "model_max_length": CONFIG["sequence_len"],
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def main(out: Path) -> None:
    torch.set_num_threads(1)
    texts = [text for answers in CHARACTERS.values() for pair in answers.items() for text in pair]
    tokenizer_path = out / "tokenizer.pkl"
    save_tokenizer(train_tokenizer(texts, MERGES), tokenizer_path)
    for seed, tag in enumerate(CHARACTERS):
        save(train(tag, tokenizer_path, seed), out, tag, tokenizer_path)
    tokenizer_path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

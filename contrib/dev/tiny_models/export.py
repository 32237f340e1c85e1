"""From the trained network to a directory that faster-whisper loads, by way of transformers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrib.dev.tiny_models.network import (
    GUIDED,
    HEADS,
    INNER,
    LAYERS,
    MELS,
    POSITIONS,
    TEXT_POSITIONS,
    WIDTH,
    TinyWhisper,
)
from contrib.dev.tiny_models.vocabulary import LANGUAGES, SIZE, Tokens

END, START, BLANK = 50_257, 50_258, 220
FEATURES = {
    "chunk_length": 30,
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": MELS,
    "hop_length": 160,
    "n_fft": 400,
    "n_samples": 480_000,
    "nb_max_frames": 3000,
    "padding_side": "right",
    "padding_value": 0.0,
    "processor_class": "WhisperProcessor",
    "return_attention_mask": False,
    "sampling_rate": 16_000,
}


def renamed(model: TinyWhisper, tokens: Tokens) -> dict[str, Tensor]:
    """The weights under transformers' names, with the whole vocabulary: the rows of all tokens that are
    not in use are one and the same, so that the file compresses to a fifth."""
    weights: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if name.startswith("encoder."):
            name = name.replace("encoder.pos", "encoder.embed_positions.weight")
            weights[f"model.{name}"] = value
        elif name.startswith(("layers.", "layer_norm.")):
            weights[f"model.decoder.{name}"] = value
    rows = model.emb.detach()[-1].repeat(SIZE, 1)
    rows[tokens.ids] = model.emb.detach()[:-1]
    weights["model.decoder.embed_tokens.weight"] = weights["proj_out.weight"] = rows
    weights["model.decoder.embed_positions.weight"] = model.pos.detach()
    return weights


@torch.no_grad()
def export(model: TinyWhisper, tokens: Tokens, out: Path, quantization: str = "int8") -> None:
    """Write `out`: model.bin, config.json, vocabulary.json, tokenizer.json, preprocessor_config.json."""
    import ctranslate2
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperForConditionalGeneration,
    )

    ids: dict[str, Any] = {
        "eos_token_id": END,
        "pad_token_id": END,
        "bos_token_id": END,
        "decoder_start_token_id": START,
        "suppress_tokens": [],
        "begin_suppress_tokens": [BLANK, END],
    }
    whole = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=SIZE,
            num_mel_bins=MELS,
            d_model=WIDTH,
            encoder_layers=LAYERS,
            decoder_layers=LAYERS,
            encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS,
            encoder_ffn_dim=INNER,
            decoder_ffn_dim=INNER,
            max_source_positions=POSITIONS,
            max_target_positions=TEXT_POSITIONS,
            **ids,
        )
    )
    odd = whole.load_state_dict(renamed(model, tokens), strict=False)
    if odd.missing_keys or odd.unexpected_keys:
        raise ValueError(f"names do not fit: {odd}")
    whole.generation_config = GenerationConfig(
        **ids,
        alignment_heads=[[LAYERS - 1, head] for head in GUIDED],
        lang_to_id={f"<|{code}|>": START + 1 + place for place, code in enumerate(LANGUAGES)},
    )
    with tempfile.TemporaryDirectory() as folder:
        whole.save_pretrained(folder)
        end = "<|endoftext|>"
        PreTrainedTokenizerFast(
            tokenizer_object=tokens.tokenizer, bos_token=end, eos_token=end, unk_token=end
        ).save_pretrained(folder)
        tokens.tokenizer.save(str(Path(folder, "tokenizer.json")), pretty=False)
        Path(folder, "preprocessor_config.json").write_text(json.dumps(FEATURES, indent=1))
        copied = ["tokenizer.json", "preprocessor_config.json"]
        converter = ctranslate2.converters.TransformersConverter(folder, copy_files=copied)
        converter.convert(str(out), quantization=quantization, force=True)

"""The token-and-duration transducer's loss (arXiv 2304.06795, equation 7) in PyTorch, on any device.

NeMo has two of its own: one needs CUDA, the other calls `.cuda()` and loops over every cell. This one
is a loop over time, vectorised over the batch and the labels. Run as a program it compares itself with
NeMo's recursion on random input:

    python -m contrib.dev.tiny_models.torch_engines.tdt_loss
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

IMPOSSIBLE = -1e4


def tdt_loss(
    joint: Tensor,
    labels: Tensor,
    frames: Tensor,
    lengths: Tensor,
    blank: int,
    durations: Sequence[int],
    sigma: float = 0.02,
) -> Tensor:
    """Negative log likelihood of each item, shape (B,).

    `joint` are the joint network's logits, (B, T, U+1, V+1+D): tokens with the blank at index `blank`,
    then one per duration. `labels` (B, U), `frames` (B,) and `lengths` (B,) are the padded labels and
    the true lengths of both axes. `sigma` is subtracted from the token scores, as in the paper.
    """
    tokens = joint[..., : -len(durations)].log_softmax(-1) - sigma
    spans = joint[..., -len(durations) :].log_softmax(-1)
    batch, time, width, _ = tokens.shape
    blanks = tokens[..., blank]
    index = labels[:, None, :, None].expand(batch, time, width - 1, 1).long()
    emitted = tokens[:, :, :-1].gather(3, index).squeeze(3)

    nowhere = joint.new_full((batch, 1), IMPOSSIBLE)
    alphas: list[Tensor] = []
    for t in range(time):
        if t == 0:
            start = joint.new_full((batch, width - 1), IMPOSSIBLE)
            alpha = torch.cat([joint.new_zeros(batch, 1), start], 1)
        else:
            arrivals = [joint.new_full((batch, width), IMPOSSIBLE)]
            for n, span in enumerate(durations):
                if 0 < span <= t:
                    left = alphas[t - span] + spans[:, t - span, :, n]
                    arrivals.append(left + blanks[:, t - span])
                    moved = left[:, :-1] + emitted[:, t - span]
                    arrivals.append(torch.cat([nowhere, moved], 1))
            alpha = torch.logsumexp(torch.stack(arrivals), 0)
        if 0 in durations:  # tokens that take no time: a linear recurrence along the labels
            step = emitted[:, t] + spans[:, t, :-1, durations.index(0)]
            total = torch.cat([joint.new_zeros(batch, 1), step.cumsum(1)], 1)
            alpha = total + torch.logcumsumexp(alpha - total, 1)
        alphas.append(alpha)

    reached = torch.stack(alphas, 1)
    items = torch.arange(batch)
    ends = []
    for n, span in enumerate(durations):
        if span > 0:
            at = (frames - span).clamp(min=0)
            worth = (
                reached[items, at, lengths] + blanks[items, at, lengths] + spans[items, at, lengths, n]
            )
            ends.append(torch.where(frames >= span, worth, torch.full_like(worth, IMPOSSIBLE)))
    return -torch.logsumexp(torch.stack(ends), 0)


def compare() -> float:
    """The largest difference from NeMo's own on a random batch."""
    from nemo.collections.asr.losses.rnnt_pytorch import TDTLossPytorch

    torch.manual_seed(1)
    durations = [0, 1, 2, 3, 4]
    batch, time, width, vocabulary = 3, 9, 4, 6
    joint = torch.randn(batch, time, width + 1, vocabulary + 1 + len(durations))
    labels = torch.randint(0, vocabulary, (batch, width))
    frames, lengths = torch.tensor([9, 8, 7]), torch.tensor([4, 3, 2])
    torch.Tensor.cuda = lambda self, *_args, **_options: self
    theirs = TDTLossPytorch(blank=vocabulary, durations=durations, reduction="none", sigma=0.02)
    tokens = joint[..., :-5].log_softmax(-1) - 0.02
    spans = joint[..., -5:].log_softmax(-1)
    expected = -theirs.compute_forward_prob(tokens, spans, labels, frames, lengths)[0]
    found = tdt_loss(joint, labels, frames, lengths, vocabulary, durations)
    return float((expected - found).abs().max())


if __name__ == "__main__":
    print("largest difference from NeMo's:", compare())

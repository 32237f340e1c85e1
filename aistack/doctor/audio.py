"""The doctor's checks of audio: a compressed sample is read, and every output format is written.

Shaped like engines (`requires`, `warm`), so that they are probed in the same way and place.
"""

from __future__ import annotations

import base64
import math
import struct
import tempfile
import threading
from pathlib import Path

from aistack.engines.audio.decode import Audio
from aistack.engines.audio.encode import AudioOut
from aistack.engines.audio.samples import RATE

SAMPLE_S = 0.5

SAMPLE = base64.b64decode(
    """
//MoxAAMYALhv0EYAqkApLv//wAD4Pg+D7wQicHzkEJcHwfD/BDg+/nKPP8CO0B/gQ5kAf4EOaAf4Edz/R71cJd3//l1l4/A
//MoxAkPYLacAZuIAH7+mCEptyoFCg3RDBocdOHgRYXMiFQbojbYCkIkxDiDECMf8ukyZF4vfKgqIj31gqIj38FV///7j/Na
//MoxAYOoHJAAd4QAJuEAEAQwDwODBNAGMEwH8w6iczZAH4OjUp4xxx4jEuDnMMIXsGhPmCEAaW9aM21NHRQK/6F///8qVyl
//MoxAYNqG48AOf2gIpcEGggCBkwKNjDh/Mz5wwrZD4MXjCIjAUgGsyUIOYyzMz8BKwkAsmgWesCv/f//3L///zjDjt6m6FA
//MoxAoOGHI0AO/4gDjAsKTCIVDFEszMaGDEL1SgyOQLUMEPA7zRaPNuU4yeYDHIFDgQtd1IfjFIf/0V+DgxjK0kBxEGRohg
//MoxAwPeHY0ABc8KOQhoUDnPhAbZYaR83AsGLeECYMIV5gOESA0LYgAfQ7MJeqP1LF93+///v/////6f/uQ///9ypyVTFwg
//MoxAkNMG48AOf2gEAcwCFDBgxMVnY0FhTDP0BUxvwIBMB3AWDFB8434MuTDJgMvUwV+p2+Jv+6///8KeBHmX0MgMGBQwSM
//MoxA8NEG5AAOe2gMxEdDM91MlLwk0/x+TCYCWNSTDk7My4pDEBM9tIvLKcHP+///uq///9R96HRZKi2HDACSzUBI81VNIY
//MoxBUMAHJAAN+4gOTOasIkw8gXjIBwMS2cCHEUBS23oj8xXzM/6P///UpdpdqEkEgAwACzB4iMWFs0LNjM80kNvkZowggN
//MoxCAMEG5AAOe2gcAlBtXyY+mmNgCGrjQ7a5Bq/NCTHCJtCAAH+AAKjARBnMD4U4xkdrDNkHEMGsH80E1OAcjJxIWN1QPP
//MoxCoLcG5EAJe2ZSCfsEb///3HHjeJmwsAAYnMsDDXy8+qkNRNqY60A8jEZCBMqocyNljBqAAoPT0eOISukwNf6v///cqc
//MoxDcMgHI8AN+4gBXchKLKmBQMYSDZjUnGlouZy9/pvaC3mE2BAODcy7FjDBWMLAVH5rsPUrz3///6Kv///C7DbX05EhC/
//MoxEANEGpAAOe4gAYDIH5gigzmGyJWYjkdZg7hnhcAADAUBAKZgIAEmAkAQj4wS7Tz4d4EICOAQCgUCAQCgAAf/+xBmfx7
//MoxEYMsHZQAV4YAOumuCQZUJmMPITDsCywgMyBAYOHAnwgmRNABmQEQBez/EFBeixjn/+OoZAgBMkH//JsvEQKBdJ///Op
//MoxE4YGXKtv5qYABopE3b/pCADJhD/8BhsEgGGwzVQZa5LdszN1VNVWMwUBAoKhosDJYGoK4aLByDTwVeJQ0o9IwVeJQ0o
//MoxCgMIEq9mcMQAvRE8r+IjxXBVUxBTUUzLjEwMFVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV
"""
)
"""Half a second of a 440 Hz tone: MP3, 16 kHz, mono. Made with this project's own encoder."""

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


class Reading:
    """Whether compressed audio can be read without an ffmpeg program."""

    requires = ("av", "numpy")

    def warm(self) -> str:
        """Decode the sample; a remark about it. Raises what the library raises, or ValueError."""
        import numpy as np

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sample.mp3")
            path.write_bytes(SAMPLE)
            audio = Audio(str(path), "aistack", threading.Event())
            samples = np.concatenate(list(audio))
        heard = samples.size / RATE
        if abs(heard - SAMPLE_S) > 0.2 or not samples.any():
            raise ValueError(f"the sample of {SAMPLE_S} s was decoded as {heard:.2f} s")
        return "the MP3 sample was decoded; no ffmpeg program is needed"


class Writing:
    """Whether speech can be written in every format."""

    requires = ("av", "numpy")

    def warm(self) -> str:
        """Encode a tone in every format. Raises what the library raises, or ValueError."""
        rate = 24_000
        tone = struct.pack(f"<{rate // 4}h", *(int(8000 * math.sin(0.1 * n)) for n in range(rate // 4)))
        for kind in FORMATS:
            out = AudioOut(kind, rate)
            if not out.feed(tone) + out.finish():
                raise ValueError(f"no {kind} audio was written")
        return " ".join(FORMATS)

"""Any file becomes 16 kHz mono samples, damaged or not, or a 400 that says why not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aistack.engines.audio.decode import SEARCH_S, Audio, pieces, quietest
from aistack.engines.audio.samples import RATE
from aistack.errors import BackendFault, Code
from tests.support.listening import (
    AUDIO,
    FORMATS,
    SPOKEN,
    Flag,
    encode,
    film,
    noise,
    png,
    samples_of,
    silence,
    titled,
    write_wav,
)


def decoded(path: Path | str) -> np.ndarray:
    return np.concatenate(list(Audio(str(path), "Engine", Flag())))


def refusal(path: Path) -> str:
    with pytest.raises(BackendFault) as caught:
        decoded(path)
    fault = caught.value.fault
    assert (fault.status, fault.code, fault.param) == (400, Code.UNSUPPORTED_AUDIO, "file")
    assert fault.provider == "Engine"
    assert str(path.parent) not in fault.message and "Errno" not in fault.message
    return fault.message


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """The best correlation of two recordings, up to 0.2 s apart."""
    size = min(len(one), len(other))
    a, b = one[:size].astype(float), other[:size].astype(float)
    product = np.fft.irfft(np.fft.rfft(a, 2 * size) * np.conj(np.fft.rfft(b, 2 * size)))
    near = np.concatenate([product[:3200], product[-3200:]])
    return float(near.max() / np.sqrt((a**2).sum() * (b**2).sum()))


@pytest.mark.parametrize("kind", FORMATS)
def test_a71_every_container_gives_the_same_sound(kind: str, tmp_path: Path) -> None:
    """aac stores what it was given between two stretches of its own making, hence the tolerance."""
    said = samples_of(AUDIO / "digits-en.wav")
    got = decoded(encode(tmp_path / f"x.{kind}", said))
    assert len(got) / RATE == pytest.approx(len(said) / RATE, abs=0.15)
    assert alike(said, got) > 0.95


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_a70_the_sound_of_a_video(kind: str, tmp_path: Path) -> None:
    said = samples_of(AUDIO / "digits-en.wav")
    assert alike(said, decoded(encode(tmp_path / f"x.{kind}", said, video=True))) > 0.95


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    said = samples_of(AUDIO / "digits-en.wav")
    assert len(decoded(encode(tmp_path / "x.mp3", said, "flac"))) == len(said)


def test_a_title_that_is_not_utf8_does_not_matter(tmp_path: Path) -> None:
    """Old recorders write titles in the code page of their day; PyAV before 19 refuses such a file
    unless it is asked not to, and PyAV 19 refuses to be asked."""
    said = samples_of(AUDIO / "digits-en.wav")
    path = titled(write_wav(tmp_path / "x.wav", said), "Gr\u00fc\u00dfe".encode("latin-1"))
    assert np.array_equal(decoded(path), said)


def test_wav_is_exact() -> None:
    said = samples_of(AUDIO / "digits-en.wav")
    audio = Audio(str(AUDIO / "digits-en.wav"), "Engine", Flag())
    assert np.array_equal(np.concatenate(list(audio)), said)
    assert audio.seconds == len(said) / RATE
    assert audio.expected == pytest.approx(audio.seconds, abs=1e-5)
    assert audio.seconds == pytest.approx(SPOKEN["digits-en.wav"]["duration"], abs=0.01)


def test_another_rate_and_two_channels(tmp_path: Path) -> None:
    """A stereo file is mixed down, and 44.1 kHz become 16."""
    import wave

    t = np.arange(44_100) / 44_100
    tone = (np.sin(2 * np.pi * 440 * t) * 8000).astype(np.int16)
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(np.stack([tone, tone], axis=1).tobytes())
    got = decoded(tmp_path / "x.wav")
    assert len(got) == pytest.approx(RATE, abs=20)
    spectrum = np.abs(np.fft.rfft(got[:RATE].astype(float), RATE))
    assert spectrum.argmax() == 440


@pytest.mark.parametrize(("kind", "lost"), [("mp3", 0.3), ("aac", 0.3), ("m4a", 0.3), ("flac", 0.3)])
def test_300_bad_bytes_do_not_cut_the_rest(kind: str, lost: float, tmp_path: Path) -> None:
    """The library's own iterator loses everything behind them (5 of 10 s)."""
    path = encode(tmp_path / f"x.{kind}", noise(10))
    data = path.read_bytes()
    middle = len(data) // 2
    bad = np.random.default_rng(1).integers(0, 256, 300, np.uint8).tobytes()
    path.write_bytes(data[:middle] + bad + data[middle + 300 :])
    assert 10 - lost <= len(decoded(path)) / RATE <= 10.2


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac", "ogg"])
def test_a_truncated_file_gives_what_is_there(kind: str, tmp_path: Path) -> None:
    path = encode(tmp_path / f"x.{kind}", noise(10))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 3.9 <= len(decoded(path)) / RATE <= 5.5


def test_two_rates_in_one_file(tmp_path: Path) -> None:
    """mp3 frames of another rate in the middle: a resampler alone would refuse the rest."""
    first = encode(tmp_path / "a.mp3", noise(2)).read_bytes()
    FORMATS["mp3-24"] = ("mp3", "libmp3lame", 24_000)
    try:
        second = encode(tmp_path / "b.mp3", noise(2), "mp3-24").read_bytes()
    finally:
        del FORMATS["mp3-24"]
    (tmp_path / "x.mp3").write_bytes(first + second + first)
    assert len(decoded(tmp_path / "x.mp3")) / RATE == pytest.approx(6, abs=0.4)


def test_a68_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "x.wav").touch()
    assert refusal(tmp_path / "x.wav") == "The file could not be read as audio."


@pytest.mark.parametrize(
    "data",
    [b"%PDF-1.4 not audio", b"PK\x03\x04" + bytes(200), b'{"a": 1}' * 40, b"RIFF\x24\x00", bytes(5000)],
)
def test_a69_no_audio(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(data)
    assert refusal(tmp_path / "x.wav")


def test_a69_text_picture_and_silent_film(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello there\n" * 100)
    assert refusal(tmp_path / "x.txt") == "The file has no audio track."
    assert refusal(png(tmp_path / "x.png")) == "The file has no audio track."
    assert refusal(film(tmp_path / "x.mp4")) == "The file has no audio track."


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_no_samples_has_its_own_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    write_wav(path, silence(0)) if kind == "wav" else encode(path, silence(0))
    assert refusal(path) == "The file holds no sound: its audio is 0 seconds long."


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile secret.wav\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["concat", "hls", "sdp"],
)
def test_a_file_cannot_name_another_to_be_read(text: str, tmp_path: Path) -> None:
    """FFmpeg would otherwise transcribe any sound file of the server's for whoever guesses its name."""
    write_wav(tmp_path / "secret.wav", noise(1))
    (tmp_path / "upload").write_text(text)
    assert refusal(tmp_path / "upload") == "The file could not be read as audio."


def test_a_lost_upload_is_not_the_clients_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decoded(tmp_path / "gone.wav")
    with pytest.raises(IsADirectoryError):
        decoded(tmp_path)


def test_cancel_between_packets(tmp_path: Path) -> None:
    audio = Audio(str(encode(tmp_path / "x.mp3", noise(60))), "Engine", Flag(looks=40))
    assert sum(block.size for block in audio) < 5 * RATE
    assert audio.seconds < 5


def test_cancel_before_the_first_packet_is_no_refusal(tmp_path: Path) -> None:
    flag = Flag()
    flag.on = True
    assert list(Audio(str(AUDIO / "digits-en.wav"), "Engine", flag)) == []


def test_blocks_are_small(tmp_path: Path) -> None:
    audio = Audio(str(encode(tmp_path / "x.flac", silence(60))), "Engine", Flag())
    sizes = [block.size for block in audio]
    assert max(sizes) <= 1.5 * RATE and sum(sizes) == 60 * RATE


# --- pieces ----------------------------------------------------------------------------------------


def blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    for at in range(0, len(samples), RATE):
        yield samples[at : at + RATE]


def test_a_short_file_is_one_piece() -> None:
    said = noise(30 + SEARCH_S)
    found = [piece for piece in pieces(blocks(said), 30) if piece is not None]
    assert len(found) == 1
    assert np.array_equal(found[0].samples * 32768, said)
    assert (found[0].start, found[0].end) == (0, 30 + SEARCH_S)


def test_a_long_file_is_cut_in_its_pauses_and_nothing_is_lost() -> None:
    said = noise(200)
    pauses = [(35.0, 36.0), (71.0, 71.8), (110.0, 111.0), (150.0, 151.0)]
    for start, end in pauses:
        said[int(start * RATE) : int(end * RATE)] //= 50
    found = list(pieces(blocks(said), 40))
    cut = [piece for piece in found if piece is not None]
    assert np.array_equal(np.concatenate([piece.samples for piece in cut]) * 32768, said)
    assert len(cut) >= 4
    for before, after in itertools.pairwise(cut):
        assert before.end == pytest.approx(after.start)
        assert any(start <= after.start <= end for start, end in pauses)
    assert max(piece.samples.size for piece in cut) <= (40 + SEARCH_S + 1) * RATE
    assert found.count(None) >= 200 - len(cut)


def test_quietest_of_too_little_is_its_end() -> None:
    assert quietest(noise(0.4), 0) == int(0.4 * RATE)
    assert quietest(noise(1.0), -5) <= RATE

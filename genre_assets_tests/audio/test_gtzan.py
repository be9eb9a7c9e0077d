"""GTZAN comes without its faults, restricted to a list if one is given; the download is a local HTTP server."""

import http.server
import io
import tarfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genre_assets.audio import gtzan
from genre_assets.errors import BadInput, TransientFailure

NAMES = ["blues.00000", "blues.00001", "jazz.00054", "jazz.00055", "hiphop.00003"]


@dataclass
class FakeTrack:
    audio_path: str
    genre: str


class LocalGtzan:
    """What mirdata does, over a local address: fetch an archive, unpack it, list its tracks."""

    def __init__(self, address: str, home: Path) -> None:
        self.address, self.home = address, home

    def download(self) -> None:
        with urllib.request.urlopen(f"{self.address}/genres.tar.gz", timeout=5) as answer:
            data = answer.read()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(self.home, filter="data")

    def load_tracks(self) -> Mapping[str, FakeTrack]:
        paths = sorted(self.home.glob("genres/*/*.wav"))
        return {p.stem: FakeTrack(str(p), p.parent.name.replace("hiphop", "hip-hop")) for p in paths}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    site = tmp_path / "site"
    site.mkdir()
    with tarfile.open(site / "genres.tar.gz", "w:gz") as archive:
        for name in NAMES:
            entry = tarfile.TarInfo(f"genres/{name.split('.')[0]}/{name}.wav")
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"RIFF"))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(site))

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def placed(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))


def test_the_corrupt_file_is_left_out_and_genres_are_ours(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "gtzan"
    source = LocalGtzan(address, tmp_path / "home")
    assert gtzan.fetch(folder, dataset=source) == 4
    assert placed(folder) == [
        "blues/blues.00000.wav", "blues/blues.00001.wav", "hiphop/hiphop.00003.wav", "jazz/jazz.00055.wav",
    ]  # fmt: skip
    assert gtzan.fetch(folder, dataset=source) == 4


def test_a_published_list_restricts_it(address: str, tmp_path: Path) -> None:
    listed = tmp_path / "filtered.txt"
    listed.write_text("blues/blues.00001.wav\njazz.00054\n\n")
    folder = tmp_path / "gtzan"
    assert gtzan.fetch(folder, keep=listed, dataset=LocalGtzan(address, tmp_path / "home")) == 1
    assert placed(folder) == ["blues/blues.00001.wav"]


def test_problems_are_told(address: str, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("nothing.00000\n")
    with pytest.raises(BadInput, match="none of the tracks"):
        gtzan.fetch(tmp_path / "a", keep=listed, dataset=LocalGtzan(address, tmp_path / "home"))
    with pytest.raises(BadInput, match="there is no list"):
        gtzan.fetch(tmp_path / "a", keep=tmp_path / "missing.txt", dataset=LocalGtzan(address, tmp_path / "home"))
    with pytest.raises(TransientFailure, match="cannot be downloaded"):
        gtzan.fetch(tmp_path / "a", dataset=LocalGtzan("http://127.0.0.1:9", tmp_path / "home"))

"""A model hub on loopback: as much of Hugging Face's and ModelScope's protocols as downloads need.

Hugging Face: the model's info with its files, the tree of a commit, HEAD and GET of a file (ETag,
X-Repo-Commit, X-Linked-Size, X-Linked-Etag), large files behind a redirect to a signed address that
answers ranges. ModelScope: the list of files and the file, with ranges. Files are named by their
repository; those above `large` bytes are kept as Git LFS objects, as both hubs do.

Besides the bad days of every double: `cut` breaks large files off, `hold` stops them at a gate.
As a process of its own: `python -m tests.doubles.hub --port N OWNER/NAME=DIRECTORY ...`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
from pathlib import Path
from typing import Any

from aiohttp import web
from attrs import define

from tests.doubles.base import Double, serve

REVISION = "c" * 40
SIGNED = "X-Amz-Signature=made-up"
BLOCK = 64 * 1024
_RANGE = re.compile(r"bytes=(\d+)-")


@define
class File:
    """One file of a repository. `blob` is what names it: sha256 of a large one, else Git's own id."""

    name: str
    path: Path
    size: int
    sha256: str
    git: str
    large: bool

    @property
    def blob(self) -> str:
        return self.sha256 if self.large else self.git


class Hub(Double):
    """Both hubs at one address: `HF_ENDPOINT` and `MODELSCOPE_ENDPOINT` may point here."""

    def __init__(self, large: int = 1_000_000) -> None:
        super().__init__(real_clock=True)
        self.large = large
        self.repositories: dict[str, dict[str, File]] = {}
        self.token = ""
        """If set: what `Authorization: Bearer` must carry, or the repository is gated."""
        self.cut: list[int] = []
        """Each entry breaks one answer with a large file off after so many bytes."""
        self.hold: int | None = None
        """Bytes of a large file after which its answer waits for the gate."""
        self.whole = False
        """Whether ranges are ignored."""
        self.lie: str = ""
        """A name whose bytes are sent wrong, though in the right number."""

    def add(self, repository: str, directory: Path) -> None:
        """Offer the files of a directory (or one file) under a name."""
        found = [directory] if directory.is_file() else sorted(directory.iterdir())
        self.repositories[repository] = {path.name: self._file(path.name, path) for path in found}

    def rename(self, repository: str, old: str, new: str) -> None:
        """Give a file of a repository another name."""
        files = self.repositories[repository]
        files[new] = self._file(new, files.pop(old).path)

    def _file(self, name: str, path: Path) -> File:
        data = path.read_bytes()
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        sha256 = hashlib.sha256(data).hexdigest()
        return File(name, path, len(data), sha256, git, len(data) >= self.large)

    def routes(self) -> list[web.RouteDef]:
        api = "/api/models/{owner}/{name}"
        return [
            web.head("/", self._alive),
            web.get(api, self._info, allow_head=False),
            web.get(api + "/revision/{revision}", self._info, allow_head=False),
            web.get(api + "/tree/{revision}", self._tree, allow_head=False),
            web.get("/{owner}/{name}/resolve/{revision}/{file:.+}", self._resolve),
            web.get("/signed/{sha256}", self._signed, allow_head=False),
            web.get("/api/v1/models/{owner}/{name}/repo/files", self._ms_files),
            web.get("/api/v1/models/{owner}/{name}/repo", self._ms_file),
        ]

    def ranges(self) -> list[str]:
        """The ranges that were asked for, oldest first; "" where a large file was asked for whole."""
        return [
            call.headers.get("Range", "")
            for call in self.calls
            if call.method == "GET" and (call.path.startswith("/signed/") or "FilePath=" in call.path)
        ]

    async def _alive(self, request: web.Request) -> web.Response:
        return web.Response()

    # --- Hugging Face ----------------------------------------------------------------------------------

    def _files(self, request: web.Request) -> dict[str, File]:
        """The repository of a request; 404 or 401 in the hub's own words if it is not to be had."""
        repository = f"{request.match_info['owner']}/{request.match_info['name']}"
        if repository not in self.repositories:
            raise self._refused(web.HTTPNotFound, "RepoNotFound", "Repository not found")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            raise self._refused(web.HTTPUnauthorized, "GatedRepo", "Access to this model is restricted")
        return self.repositories[repository]

    def _refused(self, kind: type[web.HTTPException], code: str, message: str) -> web.HTTPException:
        return kind(
            text=f'{{"error": "{message}"}}',
            content_type="application/json",
            headers={"X-Error-Code": code, "X-Error-Message": message},
        )

    async def _info(self, request: web.Request) -> web.Response:
        siblings: list[dict[str, Any]] = []
        for file in self._files(request).values():
            sibling: dict[str, Any] = {"rfilename": file.name}
            if request.query.get("blobs", "").lower() == "true":
                sibling |= {"size": file.size, "blobId": file.git}
                if file.large:
                    sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 134}
            siblings.append(sibling)
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        return web.json_response(
            {"id": name, "modelId": name, "sha": REVISION, "private": False, "siblings": siblings}
        )

    async def _tree(self, request: web.Request) -> web.Response:
        tree: list[dict[str, Any]] = []
        for file in self._files(request).values():
            entry: dict[str, Any] = {"type": "file", "path": file.name, "size": file.size}
            entry["oid"] = file.git
            if file.large:
                entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
            tree.append(entry)
        return web.json_response(tree)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        file = self._files(request).get(request.match_info["file"])
        if file is None:
            raise self._refused(web.HTTPNotFound, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        if not file.large:
            headers["ETag"] = f'"{file.git}"'
            return await self._send(request, file, headers)
        raise web.HTTPFound(
            f"http://localhost:{self.port}/signed/{file.sha256}?{SIGNED}",  # another host than ours
            headers=headers
            | {
                "X-Linked-Size": str(file.size),
                "X-Linked-ETag": f'"{file.sha256}"',
                "ETag": '"pointer"',
            },
        )

    async def _signed(self, request: web.Request) -> web.StreamResponse:
        if SIGNED not in request.query_string or "Authorization" in request.headers:
            raise web.HTTPForbidden(text="a store wants a signature, and must never see a token")
        wanted = request.match_info["sha256"]
        files = (file for held in self.repositories.values() for file in held.values())
        file = next(file for file in files if file.sha256 == wanted)
        return await self._send(request, file, {"ETag": f'"{file.sha256}"', "Accept-Ranges": "bytes"})

    # --- ModelScope ------------------------------------------------------------------------------------

    async def _ms_files(self, request: web.Request) -> web.Response:
        files = [
            {
                "Name": file.name,
                "Path": file.name,
                "Size": file.size,
                "Sha256": file.sha256,
                "Type": "blob",
                "IsLFS": file.large,
                "Revision": REVISION,
            }
            for file in self._files(request).values()
        ]
        return web.json_response(
            {"Code": 200, "Success": True, "Message": "success", "Data": {"Files": files}}
        )

    async def _ms_file(self, request: web.Request) -> web.StreamResponse:
        file = self._files(request).get(request.query.get("FilePath", ""))
        if file is None:
            raise web.HTTPNotFound
        return await self._send(request, file, {"Accept-Ranges": "bytes"})

    # --- bytes -----------------------------------------------------------------------------------------

    async def _send(
        self, request: web.Request, file: File, headers: dict[str, str]
    ) -> web.StreamResponse:
        """The file from where the request wants it; large ones are cut or held where a test says so."""
        data = file.path.read_bytes()
        if file.name == self.lie:
            data = bytes(byte ^ 1 for byte in data[:100]) + data[100:]
        asked = None if self.whole else _RANGE.fullmatch(request.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if start >= len(data) > 0:
            raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{len(data)}"})
        response = web.StreamResponse(status=206 if asked else 200, headers=headers)
        if asked:
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        response.content_type = "application/octet-stream"
        response.content_length = len(data) - start
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        stop = start + self.cut.pop(0) if file.large and self.cut else None
        position = start
        while position < len(data):
            end = min(position + BLOCK, len(data))
            if stop is not None and end >= stop:
                await response.write(data[position:stop])
                self._broken_off(request)
                return response
            if file.large and self.hold is not None and position >= self.hold:
                await self.pass_gate()
            await response.write(data[position:end])
            position = end
        await response.write_eof()
        return response

    @staticmethod
    def _broken_off(request: web.Request) -> None:
        """End the connection behind what was written, long before the length that was promised."""
        assert request.transport is not None
        request.transport.close()


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--port", type=int, default=0)
    words.add_argument("repositories", nargs="*", metavar="OWNER/NAME=DIRECTORY")
    args = words.parse_args()
    double = Hub()
    for text in args.repositories:
        repository, _, directory = text.partition("=")
        double.add(repository, Path(directory))
    asyncio.run(serve(double, args.port))


if __name__ == "__main__":
    main()

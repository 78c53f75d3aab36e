"""Conda channels that the tests make themselves: packages in both forms, indexed by rattler."""

import asyncio
import bz2
import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import rattler
import zstandard

PLACEHOLDER = "/opt/" + "placehold_" * 24 + "env"
SNAPSHOT = "2026-11-20T00:00:00Z"
BEFORE_MS, AFTER_MS = 1_760_000_000_000, 1_796_000_000_000


@dataclass(frozen=True, kw_only=True)
class Member:
    """One path of a package: a file, or a link if it has a ``target`` (``hard``: a hard one)."""

    content: bytes = b""
    executable: bool = False
    target: str = ""
    hard: bool = False
    mode: str = ""  # of a placeholder in it: "text" or "binary"


@dataclass(frozen=True, kw_only=True)
class Package:
    name: str
    version: str = "1.0"
    build: str = "0"
    files: dict[str, Member] = field(default_factory=dict)
    depends: tuple[str, ...] = ()
    noarch: str = ""
    entry_points: tuple[str, ...] = ()
    ending: str = ".conda"
    info: dict[str, bytes] = field(default_factory=dict)  # over what is made
    timestamp: int = BEFORE_MS

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def filename(self) -> str:
        return self.stem + self.ending

    @property
    def subdir(self) -> str:
        return "noarch" if self.noarch else "linux-64"

    def about(self) -> dict[str, bytes]:
        index = {
            "name": self.name, "version": self.version, "build": self.build, "build_number": 0,
            "depends": list(self.depends), "subdir": self.subdir, "timestamp": self.timestamp,
            "license": "MIT", "arch": None, "platform": None,
        }  # fmt: skip
        if self.noarch:
            index["noarch"] = self.noarch
        found = {
            "index.json": json.dumps(index).encode(),
            "paths.json": json.dumps({"paths": self.paths(), "paths_version": 1}).encode(),
            "files": "".join(f"{path}\n" for path in self.files).encode(),
        }
        if self.noarch:
            noarch = {"type": self.noarch, "entry_points": list(self.entry_points)}
            link = {"noarch": noarch, "package_metadata_version": 1}
            found["link.json"] = json.dumps(link).encode()
        found |= self.info
        return {name: content for name, content in found.items() if content != b"-"}

    def paths(self) -> list[dict[str, object]]:
        found = []
        for path, member in self.files.items():
            one: dict[str, object] = {"_path": path, "path_type": "hardlink"}
            if member.target and not member.hard:
                one["path_type"] = "softlink"
            else:
                original = self.files[member.target] if member.hard else member
                one["sha256"] = hashlib.sha256(original.content).hexdigest()
                one["size_in_bytes"] = len(original.content)
            if member.mode:
                one |= {"prefix_placeholder": PLACEHOLDER, "file_mode": member.mode}
            found.append(one)
        return found

    def bytes(self) -> bytes:
        about = {f"info/{name}": Member(content=text) for name, text in self.about().items()}
        if self.ending == ".tar.bz2":
            return bz2.compress(tarred(about | self.files))
        buffer, pack = io.BytesIO(), zstandard.ZstdCompressor(level=3).compress
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, content in (
                ("metadata.json", b'{"conda_pkg_format_version": 2}'),
                (f"pkg-{self.stem}.tar.zst", pack(tarred(self.files))),
                (f"info-{self.stem}.tar.zst", pack(tarred(about))),
            ):
                archive.writestr(zipfile.ZipInfo(name), content)
        return buffer.getvalue()


def tarred(members: dict[str, Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, member in members.items():
            info = tarfile.TarInfo(path)
            info.mode = 0o775 if member.executable else 0o664
            info.mtime, info.uname = 1_700_000_000, "conda"
            if member.target:
                info.type = tarfile.LNKTYPE if member.hard else tarfile.SYMTYPE
                info.linkname = member.target
                archive.addfile(info)
            else:
                info.size = len(member.content)
                archive.addfile(info, io.BytesIO(member.content))
    return buffer.getvalue()


def write_channel(folder: Path, packages: list[Package], *, zst: bool = True) -> Path:
    """Write a channel as ``rattler-index`` makes one, but for the moment at which it did."""
    for subdir in ("linux-64", "noarch"):
        (folder / subdir).mkdir(parents=True, exist_ok=True)
    for package in packages:
        (folder / package.subdir / package.filename).write_bytes(package.bytes())
    asyncio.run(rattler.index.index_fs(folder, write_zst=zst, write_shards=False, force=True))
    for path in folder.glob("*/repodata.json"):
        listed = json.loads(path.read_text())
        for package in (*listed["packages"].values(), *listed["packages.conda"].values()):
            package.pop("indexed_timestamp", None)
        path.write_text(json.dumps(listed))
        if zst:
            packed = zstandard.ZstdCompressor().compress(path.read_bytes())
            path.with_name("repodata.json.zst").write_bytes(packed)
    return folder

"""JSON documents of the OCI specifications, known by the digest of their bytes. Core: no I/O."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from mlruntime.errors import HashMismatch

CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"


def digest_of(content: bytes) -> str:
    """Return ``sha256:…`` of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A manifest, an index or a configuration: its bytes, and what they are."""

    content: bytes
    media_type: str

    @classmethod
    def of(cls, value: Any, media_type: str) -> "Document":
        """Return the document of a JSON value, without spaces and in its order."""
        content = json.dumps(value, separators=(",", ":")).encode()
        return cls(content=content, media_type=media_type)

    @property
    def digest(self) -> str:
        """Return ``sha256:…`` of the bytes."""
        return digest_of(self.content)

    def descriptor(self) -> dict[str, Any]:
        """Return what another document refers to this one by."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}

    def parsed(self) -> dict[str, Any]:
        """Return the JSON object; raise ``HashMismatch`` for bytes that are none."""
        try:
            value = json.loads(self.content)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise HashMismatch(f"{self.digest} is no manifest", why="it is not a JSON object")
        return value

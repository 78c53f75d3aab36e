"""What the packages of an environment say of their licences."""

import json
from pathlib import Path

from packaging.utils import canonicalize_name

from mlruntime.release.licences import of_copyright, of_wheel


def licences_in(root: Path) -> dict[str, tuple[str, ...]]:
    """Return what the packages of an environment say of their licences, by owner."""
    found: dict[str, tuple[str, ...]] = {}
    for path in root.glob("lib/python*/site-packages/*.dist-info/METADATA"):
        name = canonicalize_name(path.parent.name.partition("-")[0])
        found[f"pypi:{name}"] = of_wheel(path.read_text(encoding="utf-8", errors="replace"))
    for path in root.glob("usr/share/doc/*/copyright"):
        text = path.read_text(encoding="utf-8", errors="replace")
        found[f"deb:{path.parent.name}"] = of_copyright(text)
    for path in root.glob("conda-meta/*.json"):
        note = json.loads(path.read_text(encoding="utf-8"))
        if licence := note.get("license"):
            found[f"conda:{note['name']}"] = (str(licence),)
    return found

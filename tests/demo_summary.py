"""The closing lines of `./dev demo`, from the JSON its stages wrote."""

import json
import sys
from collections import Counter
from pathlib import Path


def main(folder: Path, seconds: str) -> None:
    """Print what was built, how long each stage took, and how the checks ended."""
    build = json.loads((folder / "build.json").read_text())
    report = json.loads((folder / "validate.json").read_text())
    stages = [line.split() for line in (folder / "stages").read_text().splitlines()]
    statuses = Counter(check["status"] for check in report["checks"])
    lines = [
        "",
        f"image     {build['reference']}",
        f"digest    {build['digest']}",
        f"size      {build['size'] / 1e6:.0f} MB compressed,"
        f" {sum(layer['unpacked'] for layer in build['layers']) / 1e6:.0f} MB unpacked,"
        f" {len(build['layers'])} layers",
        f"seconds   {', '.join(f'{name} {spent}' for name, spent, _ in stages)}; total {seconds}",
        f"checks    {statuses['passed']} passed, {statuses['failed']} failed,"
        f" {statuses['not-run']} not run",
    ]
    reasons: dict[tuple[str, str], list[str]] = {}
    for check in report["checks"]:
        if check["status"] != "passed":
            why = str(check.get("error") or "").partition("\n")[0]
            reasons.setdefault((check["status"], why), []).append(check["name"])
    for (status, why), names in reasons.items():
        lines += [f"{status:9} {', '.join(names)}", f"          {why}"]
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

"""The commands of Python packages that have no platform: what conda writes for them. Core."""

import re
from typing import Final

from mlruntime.ecosystems.conda.prefix import started

_LINE: Final = re.compile(
    r"\s*([A-Za-z0-9_.-]+)\s*=\s*([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_][\w.]*)\s*(?:\[[^\]]*\])?\s*"
)


def script(line: str, interpreter: str) -> tuple[str, bytes]:
    """Return the name and content of a command, from ``toy = toy.cli:main``.

    Raises ``ValueError`` for a line in another form.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"an entry point cannot be read: {line!r}")
    name, module, function = match.groups()
    text = (
        f"#!{interpreter}\n"
        "# -*- coding: utf-8 -*-\n"
        "import re\n"
        "import sys\n\n"
        f"from {module} import {function.partition('.')[0]}\n\n"
        "if __name__ == '__main__':\n"
        "    sys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])\n"
        f"    sys.exit({function}())\n"
    )
    return name, started(text.encode())

"""What ``docs/horovodrunner.md`` shows: programs, and what each run of them prints."""

import re

from tests.documents import CHECKOUT, text_of

PAGE = CHECKOUT / "docs" / "horovodrunner.md"
EXAMPLES = CHECKOUT / "docs" / "examples"


def programs() -> dict[str, str]:
    """Return the programs on the page by the file each says it is."""
    found = re.findall(
        r"^<!-- file examples/(\S+) -->\n```python\n(.*?)^```$", text_of(PAGE), re.M | re.S
    )
    return dict(found)


def outputs() -> dict[str, str]:
    """Return the outputs on the page by program and arguments."""
    found = re.findall(r"^<!-- output (.+?) -->\n```text\n(.*?)^```$", text_of(PAGE), re.M | re.S)
    return dict(found)

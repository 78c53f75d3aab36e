"""Documents of others as they may come: cut, overwritten, with values of another kind."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../x", "sha256:0", "", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some bytes replaced by others, or by none; perhaps the end is missing."""
    start = draw(st.integers(0, len(whole)))
    length = draw(st.integers(0, 40))
    found = whole[:start] + draw(st.binary(max_size=12)) + whole[start + length :]
    return found[: draw(st.integers(0, len(found)) | st.just(len(found)))]


@st.composite
def other_values(draw: st.DrawFn, document: Any) -> bytes:
    """A JSON document one value of which, however deep, is another or missing."""
    made = copy.deepcopy(document)
    here = made
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw(st.sampled_from(keys))
        inner = here[key]
        if isinstance(inner, dict | list) and inner and draw(st.booleans()):
            here = inner
            continue
        if draw(st.booleans()):
            del here[key]
        else:
            here[key] = draw(_VALUES)
        return json.dumps(made).encode()

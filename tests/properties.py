"""How many inputs a property test tries: what the run's profile says, or a share of that."""

from typing import Any

from hypothesis import settings


def inputs(share: float = 1, **more: Any) -> settings:
    """Return settings for a property whose inputs cost more, or less, than others' do.

    ``share`` is of the profile's number (20, 100 or 10,000; docs/testing.md). ``more`` are other
    settings of Hypothesis.
    """
    profile = settings.default or settings()
    return settings(max_examples=max(1, round(profile.max_examples * share)), **more)

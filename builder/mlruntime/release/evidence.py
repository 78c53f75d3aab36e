"""Why these versions go together: the rules of the matrix that a lock keeps to. Core: no I/O."""

import json
from collections.abc import Iterable

from mlruntime.lock.model import Lock
from mlruntime.matrix.model import Rule

_FORMAT = 1


def evidence(rules: Iterable[Rule], lock: Lock) -> str:
    """Return the document: each rule about components of a lock, with what it rests on."""
    there = lock.all_components.keys()
    value = {
        "format": _FORMAT,
        "runtime": lock.runtime,
        "lock": lock.digest,
        "components": dict(sorted(lock.all_components.items())),
        "rules": [
            {
                "id": rule.id,
                "says": rule.says,
                "evidence": rule.evidence,
                "source": rule.source,
                "date": rule.date,
            }
            for rule in rules
            if {t.component for t in (*rule.when, *rule.requires, *rule.conflicts)} <= there
        ],
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

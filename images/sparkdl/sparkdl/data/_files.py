"""Files of a data set that is there already, shared out to the ranks."""

import glob
import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sparkdl.data._errors import DataError


def shard_files(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    rank: int,
    size: int,
    *,
    sizes: Mapping[str, int] | None = None,
) -> list[str]:
    """Return the files that ``rank`` of ``size`` ranks reads, for ``tf.data`` and the like.

    ``paths`` is a list of files, or one pattern such as ``"/data/*.tfrecord"``, or a directory
    (its files, without those that begin with ``_`` or ``.``). Every file goes to exactly one
    rank; ranks get about the same number of bytes. The answer depends only on the names and
    sizes, so that every rank works out the same one. ``sizes`` gives the sizes of files that
    ``os.stat`` cannot see. Raises ``DataError`` when there are fewer files than ranks.

    Files do not have equally many records: give ``fit`` the number of steps that every rank can
    take, see ``equal_steps``.
    """
    if not 0 <= rank < size:
        raise ValueError(f"rank {rank} does not exist among {size} ranks")
    names = _named(paths)
    if len(names) < size:
        raise DataError(
            f"{len(names)} files cannot be shared out to {size} ranks: each needs at least one. "
            f"Use at most {len(names)} ranks, or write the data in more files "
            "(df.repartition(N).write…)."
        )
    weights = {name: sizes[name] if sizes is not None else _bytes_of(name) for name in names}
    return sorted(balanced(weights, size)[rank])


def balanced(weights: Mapping[str, int], size: int) -> list[list[str]]:
    """Share names out to ``size`` lists: the heaviest first, each to the lightest list so far.

    No list stays empty when there are as many names, even where weights are 0.
    """
    shares: list[list[str]] = [[] for _ in range(size)]
    loads = [0] * size
    for name in sorted(weights, key=lambda name: (-weights[name], name)):
        lightest = min(range(size), key=lambda i: (bool(shares[i]), loads[i], len(shares[i]), i))
        shares[lightest].append(name)
        loads[lightest] += weights[name]
    return shares


def _named(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    if isinstance(paths, (str, os.PathLike)):
        text = os.fspath(paths)
        if Path(text).is_dir():
            inside = (one for one in Path(text).iterdir() if one.is_file())
            return sorted(str(one) for one in inside if one.name[0] not in "_.")
        names = sorted(glob.glob(text))  # noqa: PTH207 - patterns may be absolute
        if not names:
            raise DataError(f"no file matches {text} on this machine")
        return names
    names = sorted(os.fspath(one) for one in paths)
    twice = sorted({a for a, b in itertools.pairwise(names) if a == b})
    if twice:
        raise DataError(f"{twice[0]} is in the list of files more than once")
    return names


def _bytes_of(name: str) -> int:
    try:
        return Path(name).stat().st_size
    except OSError as error:
        raise DataError(
            f"{name} cannot be read on this machine ({error.strerror}). Every rank has to see "
            "every file; for files outside the file system give their sizes with sizes={…}."
        ) from None

"""A server of objects for the checks of S3. Core: no I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlruntime.errors import UsageError

_BUCKET: Final = re.compile(
    r"(?P<endpoint>https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?)"
    r"/(?P<bucket>[a-z0-9][a-z0-9.-]{0,62})/?"
)
_KEY, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
NO_SERVER = "no S3 server was named to try it on (--s3)"
# A cluster of containers is on a network of its own.
UNREACHABLE = (
    "a cluster of containers reaches no server; `mlruntime validate --on ./ml --s3 …` tests it"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class S3:
    """A bucket, where its server is (``http://host:port``), and a login."""

    endpoint: str
    bucket: str
    key: str
    secret: str

    def to_dict(self) -> dict[str, str]:
        """Return what the check programs get."""
        return {
            "endpoint": self.endpoint,
            "bucket": self.bucket,
            "key": self.key,
            "secret": self.secret,
        }


def parse_s3(url: str, environ: Mapping[str, str]) -> S3:
    """Return the server at ``http://HOST:PORT/BUCKET``, with the login of the usual variables."""
    found = _BUCKET.fullmatch(url)
    if found is None:
        raise UsageError(
            "--s3 names no bucket of a server",
            hint=f"http://HOST:PORT/BUCKET, and its login in {_KEY} and {_SECRET}",
        )
    if not environ.get(_KEY) or not environ.get(_SECRET):
        raise UsageError("--s3: there is no login for the server", hint=f"set {_KEY} and {_SECRET}")
    return S3(
        endpoint=found["endpoint"],
        bucket=found["bucket"],
        key=environ[_KEY],
        secret=environ[_SECRET],
    )

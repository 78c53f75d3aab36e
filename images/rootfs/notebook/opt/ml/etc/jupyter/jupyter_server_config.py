"""Who may log in to Jupyter in this image; docs/flavours.md describes it.

Jupyter reads this file in any case, also where it is started without the entry point. A token or
password that the environment names is taken out of it, so that no notebook has it. A token that is
made here is not one that Jupyter made, so Jupyter does not write it to its log.
"""

import os
import secrets
from pathlib import Path

from jupyter_server.auth import passwd


def _given(name):
    """Return what the variable has, or the file that its namesake with _FILE names; or nothing."""
    value = os.environ.pop(name, "")
    file = os.environ.pop(f"{name}_FILE", "")
    try:
        value = value or (file and Path(file).read_text(encoding="utf-8").strip())
    except (OSError, ValueError) as error:
        raise SystemExit(f"{name}_FILE={file} cannot be read: {error}") from None
    if file and not value:
        raise SystemExit(f"{name}_FILE={file} is empty")
    return value


_password = _given("JUPYTER_PASSWORD")
_token = _given("JUPYTER_TOKEN")
c = get_config()  # noqa: F821  # traitlets' own, known where it reads this file
if _password:
    c.PasswordIdentityProvider.hashed_password = passwd(_password)
# With a password alone there is no token: two ways in are more than one.
c.IdentityProvider.token = _token or ("" if _password else secrets.token_hex(24))

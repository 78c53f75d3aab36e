"""The files of an environment that are made for its place and its interpreter. Core: text out."""

import shlex
from pathlib import PurePath, PurePosixPath
from urllib.parse import quote

from mlruntime.ecosystems.place import BESIDE, PREFIX
from mlruntime.environment.settings import Variables

_IMAGES_PYTHON = f"#!/{PREFIX}/bin/python\n".encode()


def pyvenv(executable: PurePath, version: str, *, beneath: bool = False) -> str:
    """Return ``pyvenv.cfg``, by which Python knows that it runs in an environment (PEP 405).

    ``beneath`` says that the interpreter's own packages are the environment's, too: conda's.
    """
    return (
        f"home = {executable.parent}\n"
        f"include-system-site-packages = {'true' if beneath else 'false'}\n"
        f"version = {version}\n"
        f"executable = {executable}\n"
    )


def pip_conf(target: PurePosixPath) -> str:
    """Return ``pip.conf``: what pip installs on top must fit what is locked."""
    # An address: pip would take a path with spaces for several.
    constraints = f"file://{quote(str(target / 'constraints.txt'))}"
    return f"[global]\nconstraint = {constraints}\ndisable-pip-version-check = true\n"


def started_beside(content: bytes) -> bytes:
    """Return a script of the image with the environment's Python in place of the image's."""
    if content.startswith(_IMAGES_PYTHON):
        return BESIDE + content.removeprefix(_IMAGES_PYTHON)
    return content


def posix_script(variables: Variables) -> str:
    """Return what bash, zsh and other POSIX shells source to use an environment."""
    names = list(variables.set)
    saved = "".join(
        f"_MLR_HAD_{n}=${{{n}+set}} _MLR_OLD_{n}=${{{n}-}}\n" for n in (*names, *variables.extended)
    )
    restored = "".join(
        f'    if [ -n "$_MLR_HAD_{n}" ]; then export {n}="$_MLR_OLD_{n}"; else unset {n}; fi\n'
        f"    unset _MLR_HAD_{n} _MLR_OLD_{n}\n"
        for n in (*names, *variables.extended)
    )
    exported = "".join(f"export {n}={shlex.quote(v)}\n" for n, v in variables.set.items())
    exported += "".join(
        f"export {n}={shlex.quote(':'.join(parts))}${{{n}:+:${n}}}\n"
        for n, parts in variables.extended.items()
    )
    return (
        "# Source this file in a POSIX shell; `deactivate` undoes it.\n"
        'if command -v deactivate >/dev/null 2>&1 && [ -n "${_MLR_ACTIVE-}" ]; then\n'
        "    deactivate\nfi\n"
        f"{saved}deactivate() {{\n{restored}    unset _MLR_ACTIVE\n    unset -f deactivate\n"
        "    hash -r 2>/dev/null || true\n}\n"
        f"_MLR_ACTIVE=1\n{exported}hash -r 2>/dev/null || true\n"
    )


def fish_script(variables: Variables) -> str:
    """Return what fish sources to use an environment."""
    lines = ["# Source this file in fish; `deactivate` undoes it."]
    lines.append("if set -q _mlr_active; deactivate; end")
    lines.append("set -g _mlr_active 1")
    names = [*variables.set, *variables.extended]
    lines += [f"set -q {n}; and set -g _mlr_old_{n} ${n}" for n in names]
    lines += [f"set -gx {n} {_fish(v)}" for n, v in variables.set.items()]
    for name, parts in variables.extended.items():
        words = " ".join(map(_fish, parts))
        # PATH is a list in fish; other variables are text, joined with colons.
        lines.append(
            f"set -gx PATH {words} $PATH"
            if name == "PATH"
            else f'set -gx {name} (string join ":" {words} ${name})'
        )
    lines.append("function deactivate")
    for name in names:
        lines.append(f"    if set -q _mlr_old_{name}; set -gx {name} $_mlr_old_{name}")
        lines.append(f"    else; set -e {name}; end; set -e _mlr_old_{name}")
    lines += ["    set -e _mlr_active", "    functions -e deactivate", "end"]
    return "\n".join(lines) + "\n"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

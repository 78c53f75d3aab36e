"""An interactive shell in an environment: its startup files may put another Python first.

So the environment is activated after them, by what each shell has for this.
"""

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlruntime.environment.personal import fish_script, posix_script
from mlruntime.environment.settings import Variables


def shell_command(
    shell: str, variables: Variables, environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Return the command and the variables that start an interactive shell in an environment.

    Of shells that nothing is known of, startup files may have the last word. The process that
    calls this becomes the shell: what it needs goes with it.
    """
    name = Path(shell).name
    own = variables.without_others(environ)
    if name == "bash":
        text = f"[ ! -f ~/.bashrc ] || . ~/.bashrc\n{posix_script(variables)}"
        return [shell, "--rcfile", _passed_on(text), "-i"], own
    if name == "fish":
        return [shell, "--init-command", fish_script(variables)], own
    if name == "zsh":
        return [shell, "-i"], own | {"ZDOTDIR": _zsh_folder(variables, environ)}
    return [shell], variables.applied(environ)


def _passed_on(text: str) -> str:
    """Return a path at which the shell, and nobody else, reads a text."""
    descriptor = os.memfd_create("activate", 0)
    with open(descriptor, "w", closefd=False, encoding="utf-8") as file:
        file.write(f"{text}exec {descriptor}<&-\n")
    return f"/proc/self/fd/{descriptor}"


def _zsh_folder(variables: Variables, environ: Mapping[str, str]) -> str:
    """Return a folder of startup files that read the user's own, and remove the folder."""
    folder = Path(tempfile.mkdtemp(prefix="mlruntime-zsh-"))
    users = environ.get("ZDOTDIR")
    back = f"ZDOTDIR={shlex.quote(users)}" if users else "unset ZDOTDIR"
    read = '[ ! -f "${{ZDOTDIR:-$HOME}}/{0}" ] || . "${{ZDOTDIR:-$HOME}}/{0}"\n'
    here = shlex.quote(str(folder))
    (folder / ".zshenv").write_text(
        f"{back}\n{read.format('.zshenv')}_mlr_folder=${{ZDOTDIR-}}\nZDOTDIR={here}\n",
        encoding="utf-8",
    )
    (folder / ".zshrc").write_text(
        f"rm -rf {here}\n"
        'if [ -n "$_mlr_folder" ]; then ZDOTDIR=$_mlr_folder; else unset ZDOTDIR; fi\n'
        f"unset _mlr_folder\n{read.format('.zshrc')}{posix_script(variables)}",
        encoding="utf-8",
    )
    return str(folder)

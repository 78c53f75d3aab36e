"""`mlruntime --help`: lists every verb, and imports none of them."""

import subprocess
import sys
from importlib import import_module

import pytest
import typer
from mlruntime.cli import VERBS, application, module_of

LINE = 79  # columns of a terminal that is not wider


@pytest.mark.starts
def test_the_list_of_verbs_imports_no_verb() -> None:
    program = (
        "import sys; from mlruntime.cli import VERBS, main; main(['--help'])\n"
        "imported = [verb for verb in VERBS if f'mlruntime.cli.{verb}' in sys.modules]\n"
        "print(imported, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    listed = done.stdout.partition("Commands:")[2].splitlines()[1:]
    assert [line.split(maxsplit=1) for line in listed] == [[*item] for item in VERBS.items()]
    assert max(map(len, listed)) <= LINE


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_s_module_brings_the_verb(verb: str) -> None:
    app = typer.Typer()
    import_module(f"mlruntime.cli.{module_of(verb)}").register(app)
    names = [command.name for command in (*app.registered_commands, *app.registered_groups)]
    assert names == [verb]


def test_all_verbs_are_listed_whichever_are_imported() -> None:
    command = typer.main.get_command(application({"resolve"}))
    assert command.list_commands(typer.Context(command)) == list(VERBS)  # type: ignore[attr-defined]

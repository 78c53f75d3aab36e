"""`mlruntime --help`: lists every verb, and imports none of them."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

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


COMMANDS: Any = typer.main.get_command(application())


def every(command: Any, path: str = "mlruntime") -> Iterator[tuple[str, Any]]:
    """Yield a command and all below it."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from every(below, f"{path} {name}")


@pytest.mark.parametrize(("path", "command"), list(every(COMMANDS)))
def test_every_parameter_says_what_it_is(path: str, command: Any) -> None:
    for parameter in command.params:
        assert parameter.help, parameter.name
        value = parameter.param_type_name == "argument" or not (
            parameter.is_flag or parameter.count
        )
        assert bool(parameter.metavar) is value, parameter.name


@pytest.mark.parametrize(("path", "command"), list(every(COMMANDS)))
def test_the_first_sentence_of_a_help_fits_into_the_list(path: str, command: Any) -> None:
    first = command.help.split("\n\n")[0]
    assert len(first) <= 64, "the list of verbs would end it with an ellipsis"
    verb = path.removeprefix("mlruntime ")
    if verb in VERBS:
        assert first == VERBS[verb] + "."

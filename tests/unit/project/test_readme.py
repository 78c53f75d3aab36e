"""The documentation says what the data and the command line say."""

import ast
import re
import shlex
from collections.abc import Iterator

import pytest
import typer
import yaml
from mlruntime import errors
from mlruntime.cli import INTERRUPTED, application, main
from mlruntime.errors import NoCompatibleVersions

from tests.documents import CHECKOUT, markers, parts, span, text_of

PAGES = sorted(
    ["README.md", "CHANGELOG.md", *(f"docs/{p.name}" for p in CHECKOUT.glob("docs/*.md"))]
)
PARTS = parts()


def page(name: str) -> str:
    return text_of(CHECKOUT / name)


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_generated_parts_are_up_to_date(name: str, part: str) -> None:
    found = span(part).findall(page(name))
    assert found == [PARTS[name, part]], "run `python -m tests.documents`"


@pytest.mark.parametrize("name", [p for p in PAGES if p != "docs/performance.md"])
def test_every_marked_part_is_generated(name: str) -> None:
    assert set(markers(page(name))) == {part for where, part in PARTS if where == name}


# commands


def commands(text: str, program: str) -> Iterator[list[str]]:
    """Yield the words of each command line in code blocks and code spans, without the program."""
    fences = re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [
        line.removeprefix("$ ")
        for block in fences
        for line in block.replace("\\\n", " ").splitlines()
    ]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines += [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", outside)]
    for line in lines:
        words = shlex.split(line, comments=True)
        # Environment variables may stand before the program.
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if words and words[0] == program:
            yield words[1:]


def parse(words: list[str]) -> None:
    """Parse a command line as the program would, down to its verb, and run nothing."""
    command, name, parent = typer.main.get_command(application()), "mlruntime", None
    while True:
        context = command.make_context(name, list(words), parent=parent)
        if not hasattr(command, "commands"):
            return
        name, *words = *context._protected_args, *context.args
        assert name in command.commands, f"no such verb: {name}"
        command, parent = command.commands[name], context
        if not words:  # a verb that is only named
            return


def mlruntime_commands() -> list[tuple[str, str]]:
    found = [(name, words) for name in PAGES for words in commands(page(name), "mlruntime")]
    found += [
        (name, words[1:])
        for name in PAGES
        for words in commands(page(name), "./dev")
        if words[:1] == ["cli"]
    ]
    return [(name, shlex.join(words)) for name, words in found if words and words != ["ARGS…"]]


@pytest.mark.parametrize(("name", "line"), mlruntime_commands())
def test_every_mlruntime_command_would_be_understood(name: str, line: str) -> None:
    parse(shlex.split(line))


def test_the_parser_of_commands_refuses_what_is_not_there() -> None:
    for line in ("resolve 6.0-ml --sat x==1", "release 6.0-ml", "matrix explored", "build --load"):
        with pytest.raises((typer.exceptions.TyperException, AssertionError)):
            parse(shlex.split(line))


@pytest.mark.parametrize("name", PAGES)
def test_every_dev_command_exists(name: str) -> None:
    usage = re.search(r"cat <<'EOF'\n(.*?)\nEOF", page("dev"), re.DOTALL)
    assert usage is not None
    known = {line.split()[1]: line for line in usage[1].splitlines()}
    for words in commands(page(name), "./dev"):
        if not words or words[0] == "cli":
            continue
        assert words[0] in known, words
        for option in words[1:]:
            named = not option.startswith("-") and "[RUNTIME" in known[words[0]]
            assert option in known[words[0]] or named or words[0] == "bench", words


# What a page says of these is that there are no such versions, or are none yet.
UNSOLVABLE = {
    "6.0-ml --set tensorflow==2.16.2",
    "6.0-ml --set spark==3.5.10",
    "7.0-ml --set 'spark==4.3.*' --set 'mllib==4.3.*'",
}


def resolve_commands() -> set[str]:
    lines = {line.partition(" ") for _, line in mlruntime_commands()}
    return {rest.removesuffix(" --json") for verb, _, rest in lines if verb == "resolve" and rest}


@pytest.mark.parametrize("line", sorted(resolve_commands()))
def test_what_is_resolved_on_a_page_has_the_outcome_that_it_says(line: str) -> None:
    code = main(["--root", str(CHECKOUT), "resolve", *shlex.split(line)])
    assert code == (NoCompatibleVersions.exit_code if line in UNSOLVABLE else 0)


def test_what_has_no_versions_is_still_on_a_page() -> None:
    assert resolve_commands() >= UNSOLVABLE


# tables by hand that must not fall behind


def test_every_exit_code_is_in_the_table() -> None:
    rows = re.findall(r"^\| (\d+) \| .+ \|$", page("docs/cli.md"), re.MULTILINE)
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    codes = {c.exit_code for c in classes if issubclass(c, errors.MlruntimeError)}
    assert {int(row) for row in rows} == codes | {0, 2, INTERRUPTED}


def test_every_broken_image_is_in_the_table() -> None:
    tree = ast.parse(page("tests/sabotage/test_sabotage.py"))
    tests = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    told = re.findall(r"^\| `(test_\w+)` \|", page("docs/validation.md"), re.MULTILINE)
    assert sorted(told) == sorted(name for name in tests if name.startswith("test_"))


def test_the_layers_are_those_of_the_stack() -> None:
    stack = yaml.safe_load(page("images/layers.yaml"))
    told = re.findall(r"^\| \d+ \| `([\w-]+)` \|", page("docs/images.md"), re.MULTILINE)
    assert told == [layer["name"] for layer in stack["layers"]]


def test_the_glossary_has_each_word_once_and_in_order() -> None:
    words = re.findall(r"^\| ([\w -]+) \|", page("docs/glossary.md"), re.MULTILINE)[1:]
    assert words == sorted(set(words))


# links


def headings(text: str) -> Iterator[str]:
    """Yield the anchor of each heading, as GitHub makes them."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.+)$", outside, re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        yield re.sub(r"[^\w -]", "", shown.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", PAGES)
def test_links_to_headings_lead_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\(((?:[^)#:\s]+\.md)?)#([^)]+)\)", page(name)):
        there = (CHECKOUT / name).parent / target if target else CHECKOUT / name
        assert anchor in headings(text_of(there)), f"{target}#{anchor}"


@pytest.mark.parametrize("name", PAGES)
def test_links_to_files_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page(name)):
        assert ((CHECKOUT / name).parent / target).exists(), target

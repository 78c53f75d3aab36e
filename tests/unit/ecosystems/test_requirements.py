"""Requirements files: what a lock can keep is read, anything else is told by its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.pypi.requirements import RequirementLine, parse_requirements
from mlruntime.errors import InvalidDefinition

SHA = "0" * 64


def read(text: str) -> tuple[RequirementLine, ...]:
    return parse_requirements(text, file="r.txt")


def told(text: str) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        read(text)
    return str(caught.value)


def test_lines_comments_and_continuations() -> None:
    lines = read(
        "\ufeff# ours\n\nPolars>=1,<2  # fast\r\n"
        f"toolz==1.0 \\\n    --hash=sha256:{SHA} \\\n    --hash sha256:{'1' * 64}\n"
        "scikit_image[data] ; python_version > '3'\n"
    )
    assert [(line.name, line.where) for line in lines] == [
        ("polars", "r.txt:3"),
        ("toolz", "r.txt:4"),
        ("scikit-image", "r.txt:7"),
    ]
    assert str(lines[0].requirement) == "Polars<2,>=1"
    assert lines[1].hashes == {SHA, "1" * 64}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("./toy.whl", "./toy.whl is a file or directory"),
        ("toy-1-py3-none-any.whl", "is a file or directory"),
        ("/srv/toy", "is a file or directory"),
        ("git+https://example.org/toy", "is a URL"),
        ("toy @ https://example.org/toy.whl", "toy comes from a URL"),
        ("-e .", "-e . is an editable install"),
        ("--editable=toy", "is an editable install"),
        ("-r other.txt", "the option -r is not supported here"),
        ("--index-url https://example.org/simple", "the option --index-url is not supported here"),
        ("toy --no-binary toy", "the option --no-binary is not supported here"),
        ("toy --hash=md5:00", "md5:00 is no sha256"),
        ("toy=1", "'toy=1' is no requirement"),
        ("toy\nToy>1", "Toy is asked for twice"),
    ],
)
def test_what_cannot_be_locked_is_told_with_its_line(line: str, what: str) -> None:
    said = told(f"# first\n{line}\n")
    assert said.startswith("r.txt:")
    assert what in said.partition("\n")[0]


def test_a_file_that_asks_for_nothing() -> None:
    assert told("# nothing\n\n") == "r.txt: no package is asked for"


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        lines = read(text)
    except InvalidDefinition:
        return
    assert lines
    assert len({line.name for line in lines}) == len(lines)

"""Workflow files: as kept, and as those who read them would take them."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlruntime.ci.actions import ACTIONS
from mlruntime.ci.rendering import SERVICES, render
from mlruntime.cli import main
from mlruntime.definitions.files import Definitions
from mlruntime.definitions.runtime import parse_runtime
from mlruntime.errors import InvalidDefinition, UsageError

from tests.pipelines import CHECKOUT, GOLDEN, IMAGE, files, golden, wanted
from tests.unit.project.test_readme import parse

BIN = Path(sys.executable).parent


class Loader(yaml.SafeLoader):
    """YAML as GitHub and GitLab read it: `on` is a word, and `!reference` takes lines over."""


Loader.yaml_implicit_resolvers = {
    first: [(name, form) for name, form in resolvers if not name.endswith(":bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_constructor("!reference", lambda loader, node: loader.construct_sequence(node))


def read(text: str) -> Any:
    return yaml.load(text, Loader)


def workflows(**others: Any) -> dict[str, Any]:
    return {Path(path).name: read(text) for path, text in files("github", **others).items()}


def steps(workflow: Any) -> list[Any]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def write(folder: Path, service: str) -> list[Path]:
    written = []
    for name, text in files(service).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def test_the_files_are_as_they_are_kept() -> None:
    kept = {
        path.relative_to(CHECKOUT).as_posix(): path.read_text(encoding="utf-8")
        for path in (CHECKOUT / GOLDEN).rglob("*")
        if path.is_file()
    }
    assert kept == golden(), "python -m tests.documents writes them anew"


@pytest.mark.starts
def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    write(tmp_path, "github")
    asked = [BIN / "zizmor", "--offline", "--no-progress", "--persona", "pedantic"]
    done = subprocess.run(
        [*asked, "--format", "json", tmp_path / ".github"], capture_output=True, text=True
    )
    assert json.loads(done.stdout) == []
    assert done.returncode == 0, done.stderr


@pytest.mark.starts
def test_zizmor_would_find_a_tag(tmp_path: Path) -> None:
    for path in write(tmp_path, "github"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(ACTIONS["checkout"].commit, "v4"), encoding="utf-8")
    asked = [BIN / "zizmor", "--offline", "--no-progress", "--format", "json"]
    done = subprocess.run([*asked, tmp_path / ".github"], capture_output=True, text=True)
    assert {found["ident"] for found in json.loads(done.stdout)} >= {"unpinned-uses"}


@pytest.mark.starts
@pytest.mark.parametrize(
    ("service", "schema"),
    [
        ("github", ["vendor.github-workflows"]),
        ("gitlab", ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
)
def test_the_services_schemas_hold(service: str, schema: list[str], tmp_path: Path) -> None:
    asked = [BIN / "check-jsonschema", "--builtin-schema", *schema, *write(tmp_path, service)]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.starts
@pytest.mark.skipif(shutil.which("actionlint") is None, reason="needs actionlint")
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    known = tmp_path / "actionlint.yaml"
    known.write_text("self-hosted-runner: {labels: [gpu]}\n")  # what --gpu-runner names
    asked = ["actionlint", "-no-color", "-config-file", known, *write(tmp_path, "github")]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_image_is_built_and_only_that() -> None:
    rows = workflows()["mlruntime.yml"]["jobs"]["image"]["strategy"]["matrix"]["include"]
    found = {(r["runtime"], r["variant"], r["flavour"]) for r in rows}
    definitions = Definitions(CHECKOUT)
    for runtime in (r for r in definitions.runtimes() if definitions.lock_path(r).is_file()):
        text = (CHECKOUT / "runtimes" / runtime / "runtime.yaml").read_text(encoding="utf-8")
        definition = read(text)
        made = {
            (runtime, variant, flavour)
            for variant in definition["variants"]
            for flavour in ("core", *definition["flavours"])
        }
        assert made <= found
        found -= made
    assert not found
    assert {r["runner"] for r in rows if r["variant"] == "gpu"} == {"gpu"}


def test_actions_are_pinned_to_commits() -> None:
    used = {step["uses"] for flow in workflows().values() for step in steps(flow) if "uses" in step}
    assert used == {f"{action.name}@{action.commit}" for action in ACTIONS.values()}
    assert all(re.fullmatch("[0-9a-f]{40}", action.commit) for action in ACTIONS.values())


def test_rights_are_the_least() -> None:
    writing = {}
    for name, flow in workflows().items():
        assert flow["permissions"] == {}
        for job, told in flow["jobs"].items():
            rights = told["permissions"]
            writing[name, job] = {right for right, how in rights.items() if how == "write"}
            checkouts = [
                s for s in told["steps"] if s.get("uses", "").startswith("actions/checkout")
            ]
            assert all(s["with"]["persist-credentials"] == "false" for s in checkouts)
            if "contents" in writing[name, job]:  # it runs nothing that it has installed
                assert not any("pip install" in s.get("run", "") for s in told["steps"])
    assert {job: rights for (_, job), rights in writing.items() if rights} == {
        "release": {"packages"},
        "propose-outdated": {"contents", "pull-requests"},
        "propose-evidence-1": {"contents", "pull-requests"},
    }


def test_secrets_are_where_they_are_needed_only() -> None:
    for name, flow in workflows(registry="registry.example.org/ml").items():
        for step in steps(flow):
            assert "secrets." not in step.get("run", "")
            if "secrets." in json.dumps(step):
                assert "release" in name
                assert step["name"] in ("Log in", "Release")
        for job in flow["jobs"].values():
            assert "secrets." not in json.dumps(job.get("env", {}))
            assert ("secrets." not in json.dumps(job)) or job["environment"] == "release"


def test_a_release_uses_no_cache() -> None:
    for name, flow in workflows().items():
        cached = [s for s in steps(flow) if s.get("uses", "").startswith("actions/cache")]
        assert not (cached and "release" in name)
    assert "cache" not in read(files("gitlab")[".gitlab/mlruntime.yml"])["mlruntime release 6.0-ml"]


def test_gitlab_jobs_refer_to_jobs() -> None:
    pipeline = read(files("gitlab")[".gitlab/mlruntime.yml"])
    for name, job in pipeline.items():
        if name == "stages":
            continue
        assert job.get("extends", ".mlruntime") in pipeline
        assert job.get("stage", "check") in pipeline["stages"]
        assert set(job.get("needs", ())) <= set(pipeline)
        for line in job.get("script", ()):
            if isinstance(line, list):
                assert pipeline[line[0]][line[1]]
    assert pipeline[".mlruntime"]["image"] == IMAGE
    telling = {name for name, job in pipeline.items() if "MLRUNTIME_PUSH_TOKEN" in json.dumps(job)}
    assert telling == {".mlruntime propose"}
    assert pipeline[".mlruntime propose"]["before_script"] == []


@pytest.mark.starts
def test_shell_lines_are_bash() -> None:
    lines = [s["run"] for flow in workflows().values() for s in steps(flow) if "run" in s]
    pipeline = read(files("gitlab")[".gitlab/mlruntime.yml"])
    for job in (job for name, job in pipeline.items() if name != "stages"):
        lines += [one for one in job.get("script", ()) if isinstance(one, str)]
    assert len(lines) > 40
    for text in lines:
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
        assert done.returncode == 0, f"{text}\n{done.stderr}"


def test_every_mlruntime_command_would_be_understood() -> None:
    texts = [text for service in SERVICES for text in files(service).values()]
    whole = "\n".join(texts).replace("\\\n", " ")
    verbs = {"matrix", "resolve", "lock", "build", "validate", "release"}
    found = re.findall(rf"(?<!`)\bmlruntime ((?:{'|'.join(verbs)}) .*[^:\n])$", whole, re.MULTILINE)
    lines = {" ".join(re.split(r" \|\| | \| |; ", line)[0].split()) for line in found}
    assert {line.split()[0] for line in lines} == verbs
    assert len(lines) == 12
    for line in lines:
        parse(shlex.split(line.replace('"${reports[@]}"', "--report report.json")))


def test_without_a_registry_there_is_no_release() -> None:
    assert sorted(workflows(registry=None)) == ["mlruntime-upkeep.yml", "mlruntime.yml"]
    pipeline = read(files("gitlab", registry=None)[".gitlab/mlruntime.yml"])
    assert not any("release" in name for name in pipeline if name != "stages")


def test_requirements_are_installed_by_hash() -> None:
    for service in SERVICES:
        for text in files(service, requirements="ci/requirements.lock").values():
            assert "pip install --require-hashes --requirement ci/requirements.lock" in text
            assert "mlruntime[release]" not in text


@pytest.mark.parametrize(
    ("service", "others", "where"),
    [
        ("github", {"registry": "ghcr.io/ml\n  evil: true"}, "--registry"),
        ("github", {"registry": "ghcr.io"}, "--registry"),
        ("github", {"branch": "main' || true"}, "--branch"),
        ("github", {"runner": "${{ secrets.X }}"}, "--runner"),
        ("github", {"gpu_runner": "[a]"}, "--gpu-runner"),
        ("github", {"requirements": "../x"}, "--requirements"),
        ("github", {"sweeps": (("7.0-ml", "a b"),)}, "--sweep"),
        ("github", {"image": IMAGE}, "--image"),
        ("gitlab", {"image": None}, "--image"),
        ("gitlab", {"image": "python:3.13"}, "--image"),
    ],
)
def test_what_does_not_belong_into_such_a_file_is_refused(
    service: str, others: dict[str, Any], where: str
) -> None:
    with pytest.raises(UsageError) as error:
        wanted(service, **others).must_be_plain(service)
    assert where.removeprefix("--") in str(error.value)


def test_a_mistake_in_a_template_is_told_with_its_place() -> None:
    text = (CHECKOUT / "runtimes/6.0-ml/runtime.yaml").read_text(encoding="utf-8")
    runtime = parse_runtime(text, file="runtime.yaml")
    for template, told in (
        ("a: [[ nothing ]]", "images/ci/github/a.yml.j2"),
        ("\n[% if %]", "images/ci/github/a.yml.j2:2"),
        ('[% include "b" %]', "there is no template b"),
    ):
        with pytest.raises(InvalidDefinition, match=re.escape(told)):
            render("github", [runtime], wanted("github"), {"github/a.yml.j2": template})
    with pytest.raises(InvalidDefinition, match="no templates"):
        render("github", [runtime], wanted("github"), {})


def test_the_verb_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--root", str(CHECKOUT), "ci", "render", "--output", str(tmp_path)]
    assert main([*words, "--for", "github", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*.yml"))]
    assert sorted(told["files"]) == found == [
        ".github/workflows/mlruntime-upkeep.yml", ".github/workflows/mlruntime.yml",
    ]  # fmt: skip
    for more, told_ in (
        (["--for", "gitlap"], "gitlab"),
        (["--for", "github", "--sweep", "7.0-ml"], "RUNTIME=FILE"),
        (["--for", "github", "--sweep", "9.0-ml=a"], "9.0-ml"),
        (["--for", "gitlab"], "digest"),
    ):
        assert main([*words, *more]) == 2
        assert told_ in capsys.readouterr().err

"""Every node is the same: image, Python, Java, packages; and they are the locked ones."""

import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from typing import Any

from .cluster import Cluster
from .harness import Mismatch, Proof
from .processes import java_executable


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed() -> dict[str, str]:
    return {_canonical(d.metadata["Name"]): d.version for d in metadata.distributions()}


def _java_version(executable: str) -> str:
    told = subprocess.run([executable, "-version"], capture_output=True, text=True, check=True)
    found = re.search(r'version "([^"]+)"', told.stderr)
    return found.group(1) if found else told.stderr


def _describe_worker() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "java": _java_version(java_executable()),
        "packages": _installed(),
        "user": os.getuid(),
    }


def _is_release(got: str, want: str) -> bool:
    """Tell whether ``17.0.12`` is a release of ``17``."""
    return got == want or got.startswith((f"{want}.", f"{want}+", f"{want}-"))


def _difference(got: dict[str, str], want: dict[str, str]) -> dict[str, str]:
    return {
        name: f"{got.get(name, 'missing')}, locked {want.get(name, 'nowhere')}"
        for name in sorted(got.keys() | want.keys())
        if got.get(name) != want.get(name)
    }


def nodes(cluster: Cluster, proof: Proof) -> None:
    """Image, Python, Java and every package version, on the driver and each worker."""
    expect = cluster.expect
    driver = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "java": str(cluster.context._jvm.System.getProperty("java.version")),
        "packages": _installed(),
        "user": os.getuid(),
    }
    answers = {expect.driver_host: driver, **cluster.on_workers(_describe_worker)}
    locked = {_canonical(name): version for name, version in expect.python_packages.items()}
    for host, node in sorted(answers.items()):
        proof.equal(f"{host}.packages that differ", _difference(node["packages"], locked), {})
        if not _is_release(node["java"], expect.java):
            raise Mismatch(f"{host} runs Java {node['java']}, not {expect.java}")
        if not _is_release(node["python"], expect.components.get("python", node["python"])):
            raise Mismatch(f"{host} runs Python {node['python']}")
        for key in ("python", "executable", "java", "user"):
            proof.equal(f"{host}.{key}", node[key], driver[key])
        # Last: the differences above say more than that the images are not the same.
        if expect.image is not None:
            proof.equal(f"{host}.image", expect.node_images.get(host), expect.image)
    proof.note("packages", len(locked))
    spark = expect.components.get("spark")
    if spark is not None:
        proof.equal("spark", cluster.spark.version, spark)


def _pip() -> dict[str, Any]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    quiet = {**os.environ, "PIP_NO_INPUT": "1"}
    check = subprocess.Popen(
        [*command, "check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=quiet
    )
    listed = subprocess.run(
        [*command, "list", "--format=json"], capture_output=True, text=True, env=quiet
    )
    report = check.communicate()[0]
    return {
        "check": check.returncode,
        "report": report.strip(),
        "list": json.loads(listed.stdout or "[]"),
        "errors": "" if listed.returncode == 0 else listed.stderr.strip(),
    }


def pip(cluster: Cluster, proof: Proof) -> None:
    """``pip check`` is clean and ``pip list`` is the lock, on the driver and each worker."""
    expect = cluster.expect
    locked = {_canonical(name): version for name, version in expect.python_packages.items()}
    answers = {expect.driver_host: _pip(), **cluster.on_workers(_pip)}
    for host, node in sorted(answers.items()):
        proof.note(f"{host}.pip check says", node["report"])
        if node["check"] != 0:
            raise Mismatch(f"pip check on {host} exited with {node['check']}: {node['report']}")
        proof.equal(f"{host}.pip list errors", node["errors"], "")
        listed = {_canonical(one["name"]): one["version"] for one in node["list"]}
        proof.equal(f"{host}.pip list against the lock", _difference(listed, locked), {})

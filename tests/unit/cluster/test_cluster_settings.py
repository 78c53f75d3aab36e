"""Spark's settings of standing clusters: what they protect and clean, how they are written."""

import pytest
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.rendering import PLACES
from mlruntime.cluster.settings import cluster_settings, may_be_secret, properties

from tests.rendered import files

URL = "spark://master:7077"


@pytest.mark.parametrize("place", PLACES)
def test_what_every_node_is_told_protects_it(place: str) -> None:
    wanted = {
        "spark.authenticate": "true",
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.authEngineVersion": "2",
        "spark.master.rest.enabled": "false",
    }
    found = cluster_settings(ClusterSpec(image="i"), URL)
    assert wanted.items() <= found.items()
    text = "\n".join(file.text for file in files(place).values())
    assert all(f"{key} {value}\n" in text for key, value in wanted.items())


def test_pages_are_for_looking_only() -> None:
    assert cluster_settings(ClusterSpec(image="i"), URL)["spark.ui.killEnabled"] == "false"


@pytest.mark.parametrize("place", PLACES)
def test_pages_elsewhere_are_for_looking_only(place: str) -> None:
    """In each file that has settings of Spark, also those without a standing cluster."""
    told = [text for file in files(place).values() if "spark.authenticate" in (text := file.text)]
    settings = [text for text in told if "spark.network.crypto.enabled" in text]
    assert settings
    assert all("spark.ui.killEnabled" in text for text in settings)


def test_a_cluster_that_stays_cleans_up() -> None:
    found = cluster_settings(ClusterSpec(image="i", history=True), URL)
    assert found["spark.worker.cleanup.enabled"] == "true"
    assert found["spark.worker.cleanup.appDataTtl"] == "86400"  # seconds: a day
    assert found["spark.history.fs.cleaner.enabled"] == "true"
    assert found["spark.history.fs.cleaner.maxAge"] == "7d"
    assert found["spark.history.fs.cleaner.maxNum"] == "1000"
    size = int(found["spark.executor.logs.rolling.maxSize"])
    assert size * int(found["spark.executor.logs.rolling.maxRetainedFiles"]) == 256 << 20
    assert "spark.history.fs.cleaner.enabled" not in cluster_settings(ClusterSpec(image="i"), URL)
    own = ClusterSpec(image="i", settings={"spark.worker.cleanup.appDataTtl": "60"})
    assert cluster_settings(own, URL)["spark.worker.cleanup.appDataTtl"] == "60"


@pytest.mark.parametrize("place", ["hosts", "slurm"])
@pytest.mark.parametrize("gpus", [0, 1])
def test_pages_on_the_network_of_hosts_are_on_loopback(place: str, gpus: int) -> None:
    script = files(place, gpus=gpus)["bootstrap.sh" if place == "hosts" else "cluster.sbatch"].text
    assert "/spark-env.sh" in script
    assert "\nSPARK_LOCAL_IP=127.0.0.1\n" in script


@pytest.mark.parametrize(
    "key",
    [
        "spark.hadoop.fs.s3a.secret.key", "spark.hadoop.fs.s3a.access.key",
        "spark.hadoop.fs.azure.account.key.store.dfs.core.windows.net", "spark.my.Password",
        "spark.ssl.keyPassword", "spark.hadoop.fs.s3a.session.token", "spark.api-key",
    ],
)  # fmt: skip
def test_names_of_secrets_are_known(key: str) -> None:
    assert may_be_secret(key)


@pytest.mark.parametrize(
    "key",
    ["spark.executor.memory", "spark.sql.shuffle.partitions", "spark.sql.keyed"],
)
def test_other_names_are_no_secrets(key: str) -> None:
    assert not may_be_secret(key)


def test_a_setting_is_one_line_whatever_is_in_it() -> None:
    text = properties({"spark.a": "x\nspark.b y", "spark.c d=e": " \\z"})
    assert text == "spark.a x\\nspark.b y\nspark.c\\ d\\=e \\ \\\\z\n"

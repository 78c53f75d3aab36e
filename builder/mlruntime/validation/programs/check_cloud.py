"""What the flavour ``cloud`` adds: tables, formats, and stores of other machines."""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .cluster import Cluster
from .harness import Mismatch, Proof

_ROWS = 2_000
# Two of the smallest parts that S3 takes, and the start of a third one.
_BYTES = 11 << 20
_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Its log is read in 50 tasks otherwise, however small the table.
    "spark.databricks.delta.snapshotPartitions": "2",
}
_COLUMNS = ["key", "value", "topic", "partition", "offset", "timestamp", "timestampType"]
# Nobody listens there, and no name below ``invalid`` resolves (RFC 6761).
_NOBODY = "127.0.0.1:1"
_STORES: Mapping[str, tuple[str, Mapping[str, str], tuple[str, ...]]] = {
    "s3a": (
        "s3a://nobody/x",
        {
            "fs.s3a.endpoint": f"http://{_NOBODY}",
            "fs.s3a.endpoint.region": "us-east-1",
            "fs.s3a.access.key": "nobody",
            "fs.s3a.secret.key": "nobody",
            "fs.s3a.path.style.access": "true",
            "fs.s3a.attempts.maximum": "0",
            "fs.s3a.retry.limit": "0",
        },
        ("refused",),
    ),
    "abfs": (
        "abfs://nobody@nobody.dfs.invalid/x",
        {
            "fs.azure.account.key.nobody.dfs.invalid": "bm9ib2R5",
            "fs.azure.io.retry.max.retries": "0",
            "fs.azure.account.hns.enabled": "true",
        },
        ("nobody.dfs.invalid",),
    ),
    "gs": (
        "gs://nobody/x",
        {
            "fs.gs.storage.root.url": f"http://{_NOBODY}/",
            "fs.gs.auth.type": "UNAUTHENTICATED",
            "fs.gs.http.max.retry": "0",
            "fs.gs.operation.http.max.retry": "0",
        },
        ("refused",),
    ),
}


def connectors(cluster: Cluster, proof: Proof) -> None:
    """The client of every store starts, and gets as far as asking its server, which is not there.

    A class that it lacks would end it before.
    """
    virtual = cluster.spark._jvm
    for scheme, (path, settings, words) in _STORES.items():
        options = virtual.org.apache.hadoop.conf.Configuration(
            cluster.context._jsc.hadoopConfiguration()
        )
        for name, value in settings.items():
            options.set(name, value)
        where = virtual.org.apache.hadoop.fs.Path(path)
        store = virtual.org.apache.hadoop.fs.FileSystem.newInstance(where.toUri(), options)
        said = _failure(lambda store=store, where=where: store.exists(where))  # type: ignore[misc]
        if not any(word in said for word in words):
            raise Mismatch(f"{scheme}: {said}")
        proof.equal(scheme, str(store.getScheme()), scheme)


def _failure(call: Callable[[], object]) -> str:
    """Return what a call fails with, and all causes of that."""
    try:
        call()
    except Exception as problem:
        cause, said = getattr(problem, "java_exception", None), [str(problem)]
        while cause is not None:
            said.append(str(cause.toString()))
            cause = cause.getCause()
        return "\n".join(said)
    return "it succeeded, and should not have"


def avro(cluster: Cluster, proof: Proof) -> None:
    """Avro files that the workers wrote are read back, with their types."""
    folder = f"{cluster.expect.shared}/check-avro-{uuid.uuid4().hex}"
    rows = cluster.spark.range(0, _ROWS, 1, 2).selectExpr(
        "id", "id * 0.5D as half", "if(id % 10 = 0, null, concat('n', id)) as text"
    )
    rows.write.format("avro").save(folder)
    found = cluster.spark.read.format("avro").load(folder)
    proof.equal("types", dict(found.dtypes), {"id": "bigint", "half": "double", "text": "string"})
    totals = found.selectExpr("count(*)", "sum(id)", "sum(half)", "count(text)").first()
    total = _ROWS * (_ROWS - 1) // 2
    proof.equal("totals", list(totals), [_ROWS, total, total / 2, _ROWS - _ROWS // 10])


def kafka(cluster: Cluster, proof: Proof) -> None:
    """The source of Kafka has its columns and reads its options; its client looks for a broker."""
    reader = cluster.spark.readStream.format("kafka").option("kafka.bootstrap.servers", _NOBODY)
    proof.equal("columns", reader.option("subscribe", "topic").load().columns, _COLUMNS)
    both = reader.option("subscribePattern", "t.*")
    proof.equal("two topics", "one of" in _failure(both.load).lower(), True)
    rows = cluster.spark.range(2).selectExpr("cast(id as string) as value")
    writer = rows.write.format("kafka").option("kafka.bootstrap.servers", _NOBODY)
    writer = writer.option("topic", "topic").option("kafka.max.block.ms", "2000")
    said = _failure(writer.save)
    proof.equal("no broker", "TimeoutException" in said and "topic" in said, True)


def delta(cluster: Cluster, proof: Proof) -> None:
    """A Delta table that the workers write has all of its versions."""
    folder = f"{cluster.expect.shared}/check-delta-{uuid.uuid4().hex}"
    with cluster.another(_DELTA) as spark:
        _versions(spark, folder, proof)
        if "delta-python" in cluster.expect.components:
            from delta.tables import DeltaTable

            history = DeltaTable.forPath(spark, folder).history()
            proof.equal("from Python", history.count(), 4)


def _versions(spark: Any, folder: str, proof: Proof) -> None:
    """Write, append, change and delete; then read each of the four versions."""
    table = f"delta.`{folder}`"
    spark.range(0, 10, 1, 2).write.format("delta").save(folder)
    spark.range(10, 25, 1, 2).write.format("delta").mode("append").save(folder)
    spark.sql(f"update {table} set id = id + 100 where id < 5")
    spark.sql(f"delete from {table} where id = 24")

    def totals(version: int) -> list[int]:
        frame = spark.sql(f"select count(*), sum(id) from {table} version as of {version}")
        return list(frame.first())

    want = [[10, 45], [25, 300], [25, 800], [24, 776]]
    proof.equal("versions", [totals(version) for version in range(4)], want)
    done = spark.sql(f"describe history {table}").orderBy("version").collect()
    operations = [row["operation"] for row in done]
    proof.equal("history", operations, ["WRITE", "WRITE", "UPDATE", "DELETE"])


def s3a(cluster: Cluster, proof: Proof) -> None:
    """Workers write to a bucket of a real server; a large object arrives in parts and is moved."""
    spark = cluster.spark
    with _bucket(cluster, spark) as folder:
        spark.range(0, _ROWS, 1, 2).write.parquet(f"{folder}/rows")
        totals = spark.read.parquet(f"{folder}/rows").selectExpr("count(*)", "sum(id)").first()
        proof.equal("totals", list(totals), [_ROWS, _ROWS * (_ROWS - 1) // 2])
        path = spark._jvm.org.apache.hadoop.fs.Path
        options = cluster.context._jsc.hadoopConfiguration()
        store = path(folder).getFileSystem(options)
        content = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(_BYTES // 32))
        out = store.create(path(f"{folder}/large"))
        out.write(bytearray(content))
        out.close()
        proof.equal("moved", store.rename(path(f"{folder}/large"), path(f"{folder}/moved")), True)
        names = sorted(str(one.getPath().getName()) for one in store.listStatus(path(folder)))
        proof.equal("names", names, ["moved", "rows"])
        arrived = spark.read.format("binaryFile").load(f"{folder}/moved")
        arrived = arrived.selectExpr("length", "sha2(content, 256) as digest").first()
        want = [len(content), hashlib.sha256(content).hexdigest()]
        proof.equal("content", list(arrived), want)


def delta_on_s3(cluster: Cluster, proof: Proof) -> None:
    """A Delta table in a bucket of a real server has all of its versions."""
    with cluster.another(_DELTA) as spark, _bucket(cluster, spark) as folder:
        _versions(spark, f"{folder}/table", proof)


@contextmanager
def _bucket(cluster: Cluster, spark: Any) -> Iterator[str]:
    """Yield a folder of its own in the bucket, with the settings that lead there."""
    server = cluster.expect.s3
    if server is None:
        raise Mismatch("no S3 server is known")
    prefix = f"fs.s3a.bucket.{server['bucket']}"
    settings = {
        "endpoint": server["endpoint"],
        "endpoint.region": "us-east-1",
        "access.key": server["key"],
        "secret.key": server["secret"],
        "path.style.access": "true",
        "multipart.size": "5M",
        "attempts.maximum": "3",
    }
    options = spark.sparkContext._jsc.hadoopConfiguration()
    for name, value in settings.items():
        options.set(f"{prefix}.{name}", value)
    folder = f"s3a://{server['bucket']}/check-{uuid.uuid4().hex}"
    try:
        yield folder
    finally:
        path = spark._jvm.org.apache.hadoop.fs.Path(folder)
        path.getFileSystem(options).delete(path, True)
        for name in settings:
            options.unset(f"{prefix}.{name}")

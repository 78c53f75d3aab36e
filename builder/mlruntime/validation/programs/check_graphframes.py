"""GraphFrames on small graphs whose answers are known."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .cluster import Cluster
from .harness import Proof

# Most of what a graph algorithm costs on a tiny graph is planning and compiling its many jobs.
_TINY = {"spark.sql.codegen.wholeStage": "false", "spark.sql.adaptive.enabled": "false"}


@contextmanager
def _tiny_jobs(cluster: Cluster) -> Iterator[None]:
    """Plan jobs for a handful of rows: checks of Spark SQL itself run without this."""
    conf = cluster.spark.conf
    before = {name: conf.get(name) for name in _TINY}
    for name, value in _TINY.items():
        conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            conf.set(name, value)


def _graph(cluster: Cluster, vertices: list[str], edges: list[tuple[str, str]]) -> Any:
    from graphframes import GraphFrame

    spark = cluster.spark
    return GraphFrame(
        spark.createDataFrame([(one,) for one in vertices], ["id"]).coalesce(1),
        spark.createDataFrame(edges, ["src", "dst"]).coalesce(1),
    )


def pagerank(cluster: Cluster, proof: Proof) -> None:
    """Five rounds of PageRank equal five rounds of it in numpy (a graph without sinks)."""
    import numpy as np

    names = list("abcde")
    edges = [("a", "b"), ("a", "c"), ("b", "c"), ("c", "a"), ("d", "c"), ("d", "e"), ("e", "d")]
    with _tiny_jobs(cluster):
        ranked = _graph(cluster, names, edges).pageRank(resetProbability=0.15, maxIter=5)
        got = {row["id"]: row["pagerank"] for row in ranked.vertices.collect()}
    follow = np.zeros((5, 5))
    for source, target in edges:
        follow[names.index(target), names.index(source)] = 1
    follow /= follow.sum(axis=0)
    rank = np.ones(5)
    for _ in range(5):
        rank = 0.15 + 0.85 * follow @ rank
    proof.close("ranks", [got[name] for name in names], rank, within=1e-6)


def components(cluster: Cluster, proof: Proof) -> None:
    """Three components, one of them a lone vertex."""
    names = ["a1", "a2", "a3", "a4", "b1", "b2", "c1"]
    edges = [("a1", "a2"), ("a2", "a3"), ("a4", "a3"), ("b2", "b1")]
    graph = _graph(cluster, names, edges)
    cluster.context.setCheckpointDir(f"{cluster.expect.shared}/check-graphframes")
    with _tiny_jobs(cluster):
        rows = graph.connectedComponents().collect()
    groups: dict[int, list[str]] = {}
    for row in rows:
        groups.setdefault(row["component"], []).append(row["id"])
    want = [["a1", "a2", "a3", "a4"], ["b1", "b2"], ["c1"]]
    proof.equal("components", sorted(sorted(group) for group in groups.values()), want)


def triangles(cluster: Cluster, proof: Proof) -> None:
    """A complete graph of four with a tail: three triangles through each of the four."""
    from pyspark import StorageLevel

    four = [(a, b) for a in "abcd" for b in "abcd" if a < b]
    graph = _graph(cluster, list("abcde"), [*four, ("d", "e")])
    with _tiny_jobs(cluster):
        counted = graph.triangleCount(StorageLevel.MEMORY_AND_DISK).select("id", "count").collect()
    got = {row["id"]: row["count"] for row in counted}
    proof.equal("triangles", got, {"a": 3, "b": 3, "c": 3, "d": 3, "e": 0})


def bfs(cluster: Cluster, proof: Proof) -> None:
    """The two shortest ways from a to d, and no way back."""
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "e"), ("e", "f"), ("f", "d")]
    graph = _graph(cluster, list("abcdef"), edges)
    with _tiny_jobs(cluster):
        paths = graph.bfs("id = 'a'", "id = 'd'", maxPathLength=2).collect()
        back = graph.bfs("id = 'd'", "id = 'a'", maxPathLength=2).count()
    ways = sorted([row["from"]["id"], row["v1"]["id"], row["to"]["id"]] for row in paths)
    proof.equal("ways", ways, [["a", "b", "d"], ["a", "c", "d"]])
    proof.equal("ways back", back, 0)


def motifs(cluster: Cluster, proof: Proof) -> None:
    """Who follows back, and chains of three whose ends are not joined."""
    edges = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "b")]
    graph = _graph(cluster, list("abcd"), edges)
    with _tiny_jobs(cluster):
        mutual = graph.find("(x)-[]->(y); (y)-[]->(x)").collect()
        open_chains = graph.find("(x)-[]->(y); (y)-[]->(z); !(x)-[]->(z)")
        chains = open_chains.filter("x.id != z.id").collect()
    pairs = sorted([row["x"]["id"], row["y"]["id"]] for row in mutual)
    proof.equal("mutual", pairs, [["a", "b"], ["b", "a"]])
    got = sorted(row["x"]["id"] + row["y"]["id"] + row["z"]["id"] for row in chains)
    direct = set(edges)
    want = sorted(
        a + b + d for a, b in edges for c, d in edges if b == c and a != d and (a, d) not in direct
    )
    proof.equal("chains", got, want)

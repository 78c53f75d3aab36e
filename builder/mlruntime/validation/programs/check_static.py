"""What can be known of an image without a GPU, and without running anything of it."""

import ctypes
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from .cluster import Cluster
from .elf import ElfFiles, Library
from .fatbin import architectures as architectures_of
from .harness import Mismatch, Proof
from .jars import differing, repeated

# The driver's library comes from the host; no other library may be missing from an image.
_OF_THE_DRIVER = "libcuda.so.1"
# Libraries that no image may have: they would be found instead of the driver's.
_DRIVER_FILES = re.compile(
    r"lib(cuda|nvidia-ml|nvidia-ptxjitcompiler|nvidia-nvvm|cudadebugger)\.so(\.\d+)*"
)
# Libraries that are only loaded after others, whose copy of the name they then get.
_AFTER = (
    ("*/site-packages/horovod/tensorflow/*", "*/site-packages/tensorflow/*"),
    ("*/site-packages/tensorflow_io_gcs_filesystem/*", "*/site-packages/tensorflow/*"),
    ("*/usr/lib/jvm/*", "*/usr/lib/jvm/*/lib/server/libjvm.so"),
)
# The desktop part of Java: fonts and sound. Debian's headless package has these files and not what
# they need; nothing in Spark loads them.
_DESKTOP = {
    "libfontmanager.so": {"libharfbuzz.so.0", "libfreetype.so.6"},
    "libjsound.so": {"libasound.so.2"},
}
# Numba tries the thread pools of TBB and of the system's OpenMP, and takes its own without them.
_POOLS = {"tbbpool": "libtbb.so.12", "omppool": "libgomp.so.1.0.0"}
# cuFFT keeps its kernels in a form of its own; what .nv_fatbin has of them is for one old GPU.
_OTHERWISE_STORED = re.compile(r"libcufftw?\.so.*")
# Those that NVIDIA has made so far, from Pascal on: what promised PTX has to be good for.
_LATER = ("6.0", "6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "10.3", "12.0", "12.1")


@cache
def _image(root: str) -> ElfFiles:
    """Return the files of this container or environment; nothing changes them meanwhile."""
    return ElfFiles(Path(root or "/"))


def libraries(cluster: Cluster, proof: Proof) -> None:
    """Every library that any ELF file needs is there, and there is one of each name."""
    image = _image(cluster.expect.root)
    proof.above("ELF files", len(image.libraries), 100)
    missing = [
        f"{library.path} needs {name}"
        for library in image.libraries
        for name in library.needed
        if not resolves(image, library, name)
    ]
    proof.equal("not to be found", missing, [])
    copies = {
        soname: places
        for soname, paths in image.by_soname.items()
        if len(places := places_of(paths)) > 1 and not bundled(paths)
    }
    proof.equal("in more than one place", copies, {})
    if cluster.expect.contract is not None:
        opened = [
            name for name in _opened(cluster.expect.prefix) if not _found_by_tensorflow(image, name)
        ]
        proof.equal("opened by TensorFlow and not found", opened, [])


def resolves(image: ElfFiles, library: Library, name: str) -> bool:
    """Tell whether the dynamic linker finds what a library needs, or the driver brings it."""
    if image.find(library, name) is not None:
        return True
    path = library.path
    if name == _OF_THE_DRIVER or name in _DESKTOP.get(path.name, ()):
        return True
    if path.match("numba/np/ufunc/*") and _POOLS.get(path.name.partition(".")[0]) == name:
        return True
    providers = image.by_soname.get(name, [])
    # Libraries in a wheel lie together and are loaded from the outermost directory inwards.
    if any(p.parent == path.parent and path.parent.name.endswith(".libs") for p in providers):
        return True
    return any(fnmatch(str(path), a) and fnmatch(str(p), b) for a, b in _AFTER for p in providers)


def places_of(paths: list[Path]) -> set[str]:
    """Return where the files are; a JDK has one library twice, for programs that embed it."""
    places = {str(path.parent) for path in paths}
    return {place for place in places if not place.endswith("/lib/server")} or places


def bundled(paths: list[Path]) -> bool:
    """Return whether these are one library that several wheels bring along.

    auditwheel puts what a wheel needs into NAME.libs, and the hash of its content into its name
    and soname. Two wheels with the same library load it once, from whichever comes first, as long
    as the bytes are the same.
    """
    if not all(path.parent.name.endswith(".libs") for path in paths):
        return False
    return len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == 1


def _tensorflow(prefix: str) -> Path:
    found = sorted(Path(prefix).glob("lib/python*/site-packages/tensorflow"))
    if len(found) != 1:
        raise Mismatch(f"TensorFlow is in {len(found)} places")
    return found[0]


def _opened(prefix: str) -> Iterator[str]:
    """Yield the CUDA libraries that TensorFlow opens by name, from its own configuration."""
    header = _tensorflow(prefix) / "include/third_party/gpus/cuda/cuda_config.h"
    if not header.is_file():
        raise Mismatch(f"{header} is gone: what TensorFlow opens cannot be known")
    text = header.read_text(encoding="utf-8")
    versions = dict(re.findall(r'#define TF_(\w+)_VERSION "(\d[\d.]*)"', text))
    for name in ("CUDART", "CUBLAS", "CUFFT", "CUSOLVER", "CUSPARSE", "CUDNN", "CUPTI"):
        if name not in versions:
            raise Mismatch(f"{header} does not say which {name.lower()} TensorFlow opens")
        yield f"lib{name.lower()}.so.{versions[name].split('.')[0]}"


def _found_by_tensorflow(image: ElfFiles, name: str) -> bool:
    own = [x for x in image.libraries if x.path.name == "libtensorflow_framework.so.2"]
    return len(own) == 1 and image.find(own[0], name) is not None


def versions(cluster: Cluster, proof: Proof) -> None:
    """TensorFlow's build, the CUDA libraries themselves and Horovod agree with the lock."""
    import horovod.tensorflow as hvd
    import tensorflow as tf

    locked, image = cluster.expect.components, _image(cluster.expect.root)
    info = tf.sysconfig.get_build_info()
    proof.equal("TensorFlow is built for CUDA", bool(info["is_cuda_build"]), True)
    cuda, built = _numbers(locked["cuda"]), _numbers(str(info["cuda_version"]))
    proof.equal("CUDA, major", built[0], cuda[0])
    proof.equal("built for no newer CUDA than there is", built[:2] <= cuda[:2], True)
    cudnn = _numbers(locked["cudnn"])
    proof.equal("cuDNN, major", _numbers(str(info["cudnn_version"]))[0], cudnn[0])
    for name, want, got in (
        ("CUDA runtime", cuda[:2], _cuda_runtime(image)),
        ("cuDNN", cudnn[:2], _cudnn(image)),
        ("NCCL", _numbers(locked["nccl"])[:3], _nccl(image)),
    ):
        proof.equal(name, got, want)
    proof.equal("Horovod has NCCL", bool(hvd.nccl_built()), True)
    proof.equal("Horovod has CUDA", bool(hvd.cuda_built()), True)
    proof.equal("Horovod has Gloo", bool(hvd.gloo_built()), True)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _called(library: str, function: str) -> int:
    """Return what a library says its version is: by an argument, or as its result."""
    loaded = ctypes.CDLL(library)
    found = ctypes.c_int(0)
    if function == "cudnnGetVersion":
        loaded.cudnnGetVersion.restype = ctypes.c_size_t
        return int(loaded.cudnnGetVersion())
    if code := getattr(loaded, function)(ctypes.byref(found)):
        raise Mismatch(f"{function} of {library} returned {code}")
    return found.value


def _soname(image: ElfFiles, pattern: str) -> str:
    found = [name for name in image.by_soname if re.fullmatch(pattern, name)]
    if len(found) != 1:
        raise Mismatch(f"{len(found)} libraries are called {pattern}: {found}")
    return found[0]


def _cuda_runtime(image: ElfFiles) -> list[int]:
    number = _called(_soname(image, r"libcudart\.so\.\d+"), "cudaRuntimeGetVersion")
    return [number // 1000, number % 1000 // 10]


def _cudnn(image: ElfFiles) -> list[int]:
    number = _called(_soname(image, r"libcudnn\.so\.\d+"), "cudnnGetVersion")
    # 8.9.4 is 8904; from cuDNN 9 on, 9.28.0 is 92800.
    major = number // 10000 if number >= 90000 else number // 1000
    return [major, number % 10000 // 100 if number >= 90000 else number % 1000 // 100]


def _nccl(image: ElfFiles) -> list[int]:
    number = _called(_soname(image, r"libnccl\.so\.\d+"), "ncclGetVersion")
    return [number // 10000, number % 10000 // 100, number % 100]


def architectures(cluster: Cluster, proof: Proof) -> None:
    """The GPU code of TensorFlow, Horovod and NVIDIA's libraries covers what is promised."""
    promised = cluster.expect.contract
    if promised is None:
        raise Mismatch("the lock promises nothing of GPUs")
    written = json.loads(
        Path(cluster.expect.prefix, "host-contract.json").read_text(encoding="utf-8")
    )
    proof.equal("host-contract.json", written, dict(promised))
    found = {}
    for library in _image(cluster.expect.root).libraries:
        if not _OTHERWISE_STORED.fullmatch(library.path.name):
            code = architectures_of(library.path)
            if code.sass or code.ptx:
                found[str(library.path)] = code
    for owner in ("tensorflow", "horovod", "nvidia/cudnn", "nvidia/nccl", "nvidia/cublas"):
        have = [path for path in found if f"/site-packages/{owner}/" in path]
        proof.above(f"files of {owner} with GPU code", len(have), 0)
    for path, code in sorted(found.items()):
        lacking = [want for want in promised["architectures"] if not runs(want, code.sass)]
        proof.equal(f"{path}: no machine code for", lacking, [])
        later = [a for a in _LATER if any(_order(p) <= _order(a) for p in promised["ptx"])]
        lacking = [a for a in later if not (runs(a, code.sass) or compiles(a, code.ptx))]
        proof.equal(f"{path}: nothing that runs on", lacking, [])


def _order(capability: str) -> tuple[int, int]:
    major, minor = capability.split(".")
    return int(major), int(minor)


def compiles(want: str, ptx: frozenset[str]) -> bool:
    """Return whether a driver can compile one of these for a GPU: PTX of no later capability."""
    return any(_order(one) <= _order(want) for one in ptx)


def runs(want: str, sass: frozenset[str]) -> bool:
    """Return whether a GPU runs one of these: machine code of its major, and no later minor."""
    major, minor = _order(want)
    return any(m == major and n <= minor for m, n in map(_order, sass))


def driver(cluster: Cluster, proof: Proof) -> None:
    """Nothing in the image stands in the place of the driver's own libraries."""
    shadows, looked = [], 0
    own = cluster.expect.environment
    for top in (own,) if own else ("/usr", "/opt", "/home", "/etc", "/var", "/srv"):
        for folder, _, files in os.walk(top):
            looked += len(files)
            shadows += [f"{folder}/{name}" for name in files if _DRIVER_FILES.fullmatch(name)]
    proof.above("files", looked, 1000)
    proof.equal("libraries of a driver", sorted(shadows), [])


def jars(cluster: Cluster, proof: Proof) -> None:
    """The locked jars are there, and what they have is nowhere else among Spark's jars."""
    spark = importlib.util.find_spec("pyspark")
    if spark is None or not spark.submodule_search_locations:
        raise Mismatch("there is no pyspark")
    folder, wanted = Path(spark.submodule_search_locations[0], "jars"), cluster.expect.jars
    proof.above("jars", len(wanted), 0)
    proof.equal("not as locked", differing(folder, wanted), [])
    proof.equal("classes in two jars", repeated(folder, wanted), [])

"""What happens inside one rank's process, whoever started it."""

import atexit
import contextlib
import json
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cloudpickle

from sparkdl import _host, _session, _weights
from sparkdl._errors import Failure
from sparkdl._ranks import Placement
from sparkdl._standing import Lookout
from sparkdl._wire import Channel, Kind

# Ranks import TensorFlow at different speeds, and Gloo's own 30 s is short for a cold disk.
_GLOO_SECONDS = "120"
_EXIT_SECONDS = 5.0


def environment(
    placement: Placement,
    *,
    address: str,
    port: int,
    interface: str,
    given: Mapping[str, str],
) -> dict[str, str]:
    """Return everything ``hvd.init()`` has to find in the environment of this rank."""
    # NCCL takes a name for the beginning of one, so that eth1 is eth10 too: "=" makes it exact.
    return {
        **placement.environment(),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_IFACE": interface,
        "HOROVOD_GLOO_TIMEOUT_SECONDS": given.get("HOROVOD_GLOO_TIMEOUT_SECONDS", _GLOO_SECONDS),
        "NCCL_SOCKET_IFNAME": given.get("NCCL_SOCKET_IFNAME", f"={interface}"),
    }


def threads(given: Mapping[str, str], count: int) -> dict[str, str]:
    """Return the variables that keep a rank to ``count`` threads; what is set already stays.

    TensorFlow's inter-op pool gets one more: an op that waits for the network holds a thread.
    """
    wanted = {
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": count + 1,
    }
    return {name: given.get(name, str(value)) for name, value in wanted.items()}


def serve(descriptor: int, timeline: int, before_end: Callable[[], None]) -> None:
    """Be one rank: take the work from the channel, do it, send what came of it, and end.

    ``timeline`` is inherited by nobody; Horovod opens it by its name in /proc.
    """
    channel = Channel(socket.socket(fileno=descriptor))
    place = json.loads(channel.receive().body)
    payload = channel.receive().body
    placement = Placement(**place["placement"])
    os.environ.update(place["variables"])
    _session.enter(
        _session.Session(
            channel=channel,
            rank=placement.rank,
            size=placement.size,
            attempt=place["attempt"],
            checkpoints=place["checkpoints"],
        )
    )
    if place["timeline"]:
        # On every rank, though only rank 0 writes: Horovod hangs when they disagree on it.
        os.environ["HOROVOD_TIMELINE"] = f"/proc/self/fd/{timeline}"
    else:
        os.close(timeline)
    if placement.size > 1:
        Lookout(_session.require().stand).start()
        if place["check_weights"]:
            _weights.after_every_fit(_session.require().compare)
    status = 0
    try:
        if place["checkpoints"] is not None:
            _host.require_checkpoints(place["checkpoints"], writes=placement.rank == 0)
        first_with_gpu = place["gpus"] and placement.local_rank == 0
        if first_with_gpu and (remark := _host.small_shared_memory(placement.local_size)):
            _session.require().say(remark)
        own = place["own"] if place["gpus"] else None
        if own is not None:
            _use_gpu(own, alone=len(place["gpus"]) == 1)
        channel.send(Kind.RESULT, _work(payload, placement, own))
    except BaseException as error:
        status = 1
        _report(account(error, placement))
    before_end()
    _end(status)


def _work(payload: bytes, placement: Placement, own: int | None) -> bytes:
    main, kwargs = cloudpickle.loads(payload)
    result = main(**kwargs)
    if own is not None:
        _require_gpu(own)
    _shut_down_horovod()
    if placement.rank != 0:
        return b""
    try:
        return cloudpickle.dumps(result)
    except Exception as error:
        raise TypeError(
            f"main returned a {type(result).__name__}, which cannot be pickled ({error}); return "
            "plain values, such as model.get_weights(), or save the model to a shared folder"
        ) from None


def _report(failure: Failure) -> None:
    """Tell of a failure, and wait until the driver has heard it.

    Only then may this process end: its end makes other ranks fail, and the driver must hear of
    the cause before it hears of the consequences.
    """
    session = _session.require()
    with contextlib.suppress(ConnectionError):
        session.ask(Kind.FAILED, failure.to_json())


def _end(status: int) -> None:
    """End without waiting for other ranks, threads, or a main that hangs in an exit handler."""
    timer = threading.Timer(_EXIT_SECONDS, os._exit, [status])
    timer.daemon = True
    timer.start()
    if status == 0:
        # A failed rank skips this: Horovod's handler waits for ranks that may be stuck.
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def _use_gpu(own: int, *, alone: bool) -> None:
    """Make this rank's GPU the one that TensorFlow uses unless ``main`` says otherwise.

    A rank that is ``alone`` with its GPU sees no other, so nothing is to be said to TensorFlow: it
    is not imported for this, which takes seconds, but asked if it is there already.
    """
    if not alone:
        with contextlib.suppress(ImportError):
            import tensorflow  # noqa: F401
    if (found := _require_gpu(own)) is not None:
        sys.modules["tensorflow"].config.set_visible_devices(found, "GPU")


def _require_gpu(own: int) -> Any:
    """Return TensorFlow's name for this rank's GPU, ``None`` while it has not been imported.

    Raises ``RuntimeError`` when TensorFlow does not find the GPU: it would train on the CPU, or
    has done so, without a word.
    """
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return None
    found = tf.config.list_physical_devices("GPU")
    if len(found) <= own:
        raise RuntimeError(
            f"this rank was given GPU {os.environ.get('CUDA_VISIBLE_DEVICES')}, but TensorFlow "
            f"finds {len(found)} GPUs here and trains on the CPU. Use an image of the gpu variant, "
            "and see what its log says of CUDA libraries and the driver"
        )
    return found[own]


def account(error: BaseException, placement: Placement) -> Failure:
    """Return what there is to say about ``error``, without this library's own frames."""
    own = f"{Path(__file__).parent}{os.sep}"
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(own):
            break
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    summary = "".join(traceback.format_exception_only(error)).strip()
    return Failure(rank=placement.rank, host=socket.gethostname(), summary=summary, traceback=text)


def _shut_down_horovod() -> None:
    for name in ("horovod.tensorflow", "horovod.torch", "horovod.mxnet"):
        module = sys.modules.get(name)
        if module is not None and module.is_initialized():
            module.shutdown()

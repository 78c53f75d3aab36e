"""What happens inside one rank's process, whoever started it."""

import os
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cloudpickle

from sparkdl._errors import Failure
from sparkdl._ranks import Placement

# Ranks import TensorFlow at different speeds, and Gloo's own 30 s is short for a cold disk.
_GLOO_SECONDS = "120"


def environment(placement: Placement, *, address: str, port: int, interface: str) -> dict[str, str]:
    """Return everything ``hvd.init()`` has to find in the environment of this rank."""
    return {
        **placement.environment(),
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
        "HOROVOD_GLOO_IFACE": interface,
        "HOROVOD_GLOO_TIMEOUT_SECONDS": os.environ.get(
            "HOROVOD_GLOO_TIMEOUT_SECONDS", _GLOO_SECONDS
        ),
    }


def run(payload: bytes, variables: Mapping[str, str]) -> bytes:
    """Call the pickled ``(main, kwargs)`` and return its pickled result.

    ``os.environ`` is put back afterwards, whatever ``main`` did to it, and Horovod is shut
    down, so that the next run in this process starts from nothing. What ``main`` raises passes
    through; Horovod is then left alone, because a shutdown waits for the other ranks.
    """
    with _environ(variables):
        _restart_keras_names()
        main, kwargs = cloudpickle.loads(payload)
        result = main(**kwargs)
        _shut_down_horovod()
        return cloudpickle.dumps(result if variables["HOROVOD_RANK"] == "0" else None)


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


@contextmanager
def _environ(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _restart_keras_names() -> None:
    """Make Keras number its layers from 1 again, if this process has it loaded.

    Horovod matches tensors across ranks by name. A process that has built models before would
    call its first layer ``dense_7`` where a new one says ``dense``, and both would wait for ever.
    """
    for name in ("keras", "tf_keras"):
        module = sys.modules.get(name)
        if module is not None:
            module.backend.clear_session()


def _shut_down_horovod() -> None:
    for name in ("horovod.tensorflow", "horovod.torch", "horovod.mxnet"):
        module = sys.modules.get(name)
        if module is not None and module.is_initialized():
            module.shutdown()

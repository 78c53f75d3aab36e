"""What environment markers (PEP 508) ask for, in an image. Core: no I/O."""

from packaging.markers import Environment


def marker_environment(python: str) -> Environment:
    """Return every marker's value for CPython ``python``, such as 3.11.2, on Linux and x86-64."""
    return {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
    }

"""Docker's API, which Podman's service speaks as well. The only package that imports its SDK.

None of the SDK's errors leave it: they become ``Unavailable``, ``CommandFailed`` or
``StorageError``.
"""

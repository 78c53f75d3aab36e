#!/bin/sh
# Makes the directory that this file is in an environment of this host. It needs no network, no
# root and no mlruntime:
#
#     sh unpack.sh            with a Python found on this host
#     sh unpack.sh PYTHON     with this one
#
# Run it where the directory is to stay, and again after it was moved.
set -eu

say() { printf 'unpack.sh: %s\n' "$*" >&2; }

die() {
    say "$1"
    printf '  try: %s\n' "$2" >&2
    exit 6
}

root=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
notes=$root/.mlruntime
# shellcheck disable=SC1091 # written by `env pack`
. "$notes/needs"

case $root in *:*) die "$root has a colon, which separates the parts of PATH" "move it" ;; esac

[ "$(uname -m)" = x86_64 ] ||
    die "this host's processor is $(uname -m), everything here is compiled for x86_64" \
        "a host with x86_64"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) ||
    die "this host's C library is not glibc" "a distribution with glibc"
have=${libc#glibc }
[ "$(printf '%s\n%s\n' "$NEEDS_GLIBC" "$have" | sort -V | head -n 1)" = "$NEEDS_GLIBC" ] ||
    die "this host's glibc is $have, what is here needs $NEEDS_GLIBC or newer" \
        "a newer distribution"

suits() {
    [ -x "$1" ] && "$1" -I - "$NEEDS_PYTHON" 2>/dev/null <<'PYTHON'
import bz2, ctypes, lzma, sqlite3, ssl, sys, sysconfig, zlib
ok = "%d.%d" % sys.version_info[:2] == sys.argv[1] and sys.implementation.name == "cpython"
sys.exit(not ok or bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
PYTHON
}

# The folders of PATH first, then where uv and pyenv keep theirs.
find_python() {
    old=$IFS
    IFS=:
    for folder in $PATH; do
        if suits "$folder/python$NEEDS_PYTHON"; then
            python=$folder/python$NEEDS_PYTHON
            break
        fi
    done
    IFS=$old
    [ -z "$python" ] || return 0
    for candidate in "${UV_PYTHON_INSTALL_DIR:-${HOME-}/.local/share/uv/python}"/*/bin/python"$NEEDS_PYTHON" \
        "${PYENV_ROOT:-${HOME-}/.pyenv}"/versions/*/bin/python"$NEEDS_PYTHON"; do
        if suits "$candidate"; then
            python=$candidate
            return 0
        fi
    done
}

python=${1-}
if [ -n "$python" ]; then
    suits "$python" || die "$python is not a complete CPython $NEEDS_PYTHON" \
        "another one, or none to look for one"
else
    find_python
    [ -n "$python" ] || die "there is no complete CPython $NEEDS_PYTHON on this host" \
        "your distribution's package python$NEEDS_PYTHON, or: sh unpack.sh PYTHON"
fi

exec "$python" -I "$notes/unpack.py" "$root"

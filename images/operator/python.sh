#!/bin/sh
# Sees to it that the image has Python: `run` what running needs, `build` what installing needs too. A plain Debian gets
# its distribution's own, which has no pip; a base such as python:3.12-slim brings a Python, and pip with it.
set -eu

# libglib2.0-0: createrepo_c's wheel brings the rest of its libraries along, but not this one.
packages='ca-certificates libglib2.0-0'
if [ "$1" = run ]; then
    # The agent `fetch` clones repositories.
    packages="$packages git openssh-client subversion"
    # What dpkg shall leave out, now and at every later installation into this image.
    cp "$(dirname "$0")/dpkg.cfg" /etc/dpkg/dpkg.cfg.d/copr-operator
else
    packages="$packages binutils"
fi
if ! command -v python3 >/dev/null; then
    case $1 in
        run) packages="$packages python3" ;;
        build) packages="$packages python3 python3-venv python3-pip" ;;
        *) echo "usage: $0 run|build" >&2; exit 2 ;;
    esac
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
# shellcheck disable=SC2086 # a list of words
apt-get install -y --no-install-recommends $packages
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/dpkg.log /var/log/apt /var/log/alternatives.log

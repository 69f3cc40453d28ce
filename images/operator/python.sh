#!/bin/sh
# Sees to it that the image has Python: `run` what running needs, `build` what installing needs too. A base such as
# python:3.13-slim has all of it; a plain Debian gets its distribution's own.
set -eu

# libglib2.0-0: createrepo_c's wheel brings the rest of its libraries along, but not this one.
packages='ca-certificates libglib2.0-0'
if [ "$1" = run ]; then
    # The agent `fetch` clones repositories.
    packages="$packages git openssh-client subversion"
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
rm -rf /var/lib/apt/lists/*

# shellcheck shell=bash
# pyp2spec and pyp2rpm ask https://pypi.org/pypi/ and nothing else. For another index their requests are turned there,
# in the two libraries they use for them. Sourced by their steps.

readonly PYPI=https://pypi.org/pypi

use_index() { # sets INDEX_ENV: variables for `env`
    local shim=$BUILDER_HOME/pypi-index
    INDEX_ENV=(PYPI_INDEX="$INDEX_URL")
    [[ $INDEX_URL != "$PYPI" ]] || return 0
    say "the package index is $INDEX_URL"
    install -d "$shim"
    cat >"$shim/sitecustomize.py" <<'PYTHON'
import os
import urllib.request

PYPI, INDEX = "https://pypi.org/pypi/", os.environ["PYPI_INDEX"].rstrip("/") + "/"


def turned(url):
    return INDEX + url[len(PYPI):] if isinstance(url, str) and url.startswith(PYPI) else url


real_open = urllib.request.OpenerDirector.open
urllib.request.OpenerDirector.open = lambda self, url, *more, **options: real_open(self, turned(url), *more, **options)
try:
    import requests
except ImportError:
    pass
else:
    real_request = requests.Session.request
    requests.Session.request = lambda self, method, url, *more, **options: real_request(
        self, method, turned(url), *more, **options
    )
PYTHON
    INDEX_ENV+=(PYTHONPATH="$shim")
}

# The source distribution, from where the index says and with the checksum it says. rpmbuild takes what is there, so it
# asks nobody for it; for a specification's %{pypi_source} it would ask https://files.pythonhosted.org only.
download_sdist() { # DIRECTORY
    local program=$ROOT_DIR/download-sdist.py
    cat >"$program" <<'PYTHON'
import hashlib
import json
import sys
import urllib.request
from pathlib import Path

index, name, version, directory = sys.argv[1:]
url = "/".join([index.rstrip("/"), name, *([version] if version else []), "json"])
with urllib.request.urlopen(url) as answer:
    files = json.load(answer)["urls"]
found = [file for file in files if file["packagetype"] == "sdist"]
if not found:
    sys.exit(f"{name} has no source distribution in the index")
with urllib.request.urlopen(found[0]["url"]) as answer:
    data = answer.read()
if hashlib.sha256(data).hexdigest() != found[0]["digests"]["sha256"]:
    sys.exit(f"{found[0]['url']} does not have the sha256 that the index says")
Path(directory, Path(found[0]["filename"]).name).write_bytes(data)
print(f"downloaded {found[0]['url']}")
PYTHON
    tool "the download of $PACKAGE" python3 "$program" "$INDEX_URL" "$PACKAGE" "$PACKAGE_VERSION" "$1"
}

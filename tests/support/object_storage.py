"""A real S3 server on loopback: versitygw, with a directory behind it."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

from tests.cluster.toolbox import tool

KEY, SECRET = "copr-tests", "not-a-secret"


@dataclass
class ObjectStorage:
    """`environment` is what a backend needs to reach it."""

    process: "subprocess.Popen[bytes]"
    port: int
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "AWS_REGION": "us-east-1",
        }

    def objects(self, bucket: str, prefix: str = "", *, timeout: float = 30) -> S3Store:
        """A client; makes the bucket when there is none. `timeout` of a request in seconds."""
        (self.directory / bucket).mkdir(exist_ok=True)
        return S3Store(
            bucket, prefix=prefix or None, access_key_id=KEY, secret_access_key=SECRET, region="us-east-1",
            endpoint=f"http://127.0.0.1:{self.port}", retry_config={"max_retries": 0},
            client_options={"allow_http": True, "timeout": timedelta(seconds=timeout)},
        )  # fmt: skip

    def freeze(self) -> None:
        """Answer nothing, until thaw()."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def object_storage(directory: Path) -> Iterator[ObjectStorage]:
    """`directory` must be on a file system with extended attributes: versitygw keeps ETags there."""
    data = directory / "buckets"
    data.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    log = (directory / "versitygw.log").open("wb")
    process = subprocess.Popen(
        [tool("versitygw"), "--access", KEY, "--secret", SECRET, "--port", f"127.0.0.1:{port}", "posix", data],
        stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "HOME": str(directory)},
    )  # fmt: skip
    storage = ObjectStorage(process, port, data)
    try:
        _wait(storage, directory / "versitygw.log")
        yield storage
    finally:
        storage.thaw()
        process.terminate()
        process.wait(timeout=30)
        log.close()


def _wait(storage: ObjectStorage, log: Path) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            obstore.list_with_delimiter(storage.objects("probe"))
        except Exception:
            if storage.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"versitygw did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
        else:
            return

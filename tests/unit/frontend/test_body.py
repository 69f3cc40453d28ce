"""Bodies with files: only where one is taken, and of the size that is taken there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from copr_operator.frontend.body import Limits, form
from copr_operator.frontend.errors import CoprError
from tests.unit.frontend.test_requests import encode

FIELDS = ("json", "json", b'{"a": 1}')


@pytest.fixture
def nowhere(tmp_path: Path) -> Limits:
    """A file that is begun there fails with an error of another kind."""
    return Limits(body=1000, file=10**9, silence=5, spool=tmp_path / "absent")


def sent(*parts: tuple[str, str | None, bytes]) -> Request:
    body = encode(list(parts), b"B")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    kind = (b"content-type", b"multipart/form-data; boundary=B")
    return Request({"type": "http", "method": "POST", "headers": [kind]}, receive)


async def test_a_file_is_refused_where_none_is_taken_before_anything_of_it_is_kept(nowhere: Limits) -> None:
    with pytest.raises(CoprError, match=r"This request takes no file: pkgs\.") as caught:
        async with form(sent(("pkgs", "x.src.rpm", b"x"), FIELDS), nowhere):
            pass
    assert caught.value.status == 400


@pytest.mark.parametrize("part", [FIELDS, ("a", None, b"1")], ids=["json", "plain"])
async def test_fields_may_come_in_parts_everywhere(nowhere: Limits, part: tuple[str, str | None, bytes]) -> None:
    async with form(sent(part), nowhere) as read:
        assert str(read.fields["a"]) == "1"


@pytest.mark.parametrize(("size", "fits"), [(50, True), (51, False)])
async def test_a_file_is_as_large_as_its_request_takes(tmp_path: Path, nowhere: Limits, size: int, fits: bool) -> None:
    limits, request = replace(nowhere, spool=tmp_path), sent(("upload_comps", "c.xml", b"x" * size), FIELDS)
    if fits:
        async with form(request, limits, file=50) as read:
            assert (read.files["upload_comps"].size, read.fields) == (50, {"a": 1})
        return
    with pytest.raises(CoprError, match=r"The file is larger than 50 bytes\.") as caught:
        async with form(request, limits, file=50):
            pass
    assert caught.value.status == 413

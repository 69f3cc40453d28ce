"""How requests are read: fields as lenient as Copr's forms, pages, multipart bodies cut anywhere."""

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copr_operator.frontend.errors import CoprError, form_error
from copr_operator.frontend.fields import Fields, as_number
from copr_operator.frontend.multipart import (
    MultipartError,
    MultipartParser,
    PartData,
    PartEnd,
    PartHead,
    boundary_of,
)
from copr_operator.frontend.paging import Page


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["a", "b"], ["a", "b"]),
        ("a b", ["a", "b"]),
        (["a b", "c"], ["a", "b", "c"]),
        ("", []),
        ([], []),
        ([1, 2.5], ["1", "2.5"]),
        ("a\nb\tc", ["a", "b", "c"]),
        (None, None),
    ],
)
def test_lists_may_be_strings_and_strings_lists(value: object, words: list[str] | None) -> None:
    assert Fields({"x": value}).words("x") == words


@pytest.mark.parametrize(
    ("value", "flag"),
    [(True, True), (False, False), ("false", False), ("", False), ("False", True), ("0", True), ("x", True), (0, False),
     (0.0, False), (1, True), (None, None)],
)  # fmt: skip
def test_booleans_are_read_as_copr_reads_them(value: object, flag: bool | None) -> None:
    assert Fields({"x": value}).flag("x") is flag


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        ("5", 5),
        (" 5 ", 5),
        ("-5", -5),
        (True, None),
        (5.0, None),
        ("5.0", None),
        ("", None),
        ([], None),
        ("٣", None),
    ],
)
def test_numbers_may_be_strings(value: object, number: int | None) -> None:
    assert as_number(value) == number


def test_all_that_is_wrong_is_said_at_once_in_the_format_of_the_endpoint() -> None:
    def problems(fields: Fields) -> str:
        fields.text("name", required=True)
        fields.number("timeout", 0, 9)
        fields.choice("kind", ("a",))
        with pytest.raises(CoprError) as caught:
            fields.check()
        return caught.value.message

    values = {"timeout": "x", "kind": "b"}
    assert problems(Fields(values)) == (
        "Bad request parameters: {'name': ['This field is required.'], 'timeout': ['Not a valid integer value.'], "
        "'kind': ['Not a valid choice.']}"
    )
    assert problems(Fields(values, form_error)) == (
        "name: This field is required.\ntimeout: Not a valid integer value.\nkind: Not a valid choice."
    )


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "\ud800"])
def test_control_characters_and_halves_of_characters_are_no_text(text: str) -> None:
    fields = Fields({"x": text})
    fields.text("x")
    with pytest.raises(CoprError, match="not allowed"):
        fields.check()


def test_an_older_name_counts_when_the_newer_is_not_given() -> None:
    assert Fields({"repos": "a"}).rename(repos="additional_repos").words("additional_repos") == ["a"]
    both = Fields({"repos": "a", "additional_repos": "b"}).rename(repos="additional_repos")
    assert both.words("additional_repos") == ["b"]


@pytest.mark.parametrize(
    ("query", "limit", "offset", "items"),
    [({}, None, 0, [0, 1, 2, 3]), ({"limit": "0"}, None, 0, [0, 1, 2, 3]), ({"limit": "2"}, 2, 0, [0, 1]),
     ({"limit": "2", "offset": "3"}, 2, 3, [3]), ({"limit": "2", "offset": "4"}, 2, 4, [])],
)  # fmt: skip
def test_pages_are_cut_and_echoed(query: Mapping[str, str], limit: int | None, offset: int, items: list[int]) -> None:
    page = Page.of(query, ("id",))
    assert page.cut(range(4)) == range(4)[items[0] : items[-1] + 1] if items else list(page.cut(range(4))) == []
    assert page.meta == {"limit": limit, "offset": offset, "order": "id", "order_type": "ASC"}


Parts = list[tuple[str, str | None, bytes]]


def encode(parts: Parts, boundary: bytes) -> bytes:
    out = b""
    for name, filename, data in parts:
        file = b"" if filename is None else b'; filename="%s"' % filename.encode()
        out += b'--%s\r\nContent-Disposition: form-data; name="%s"%s\r\nX-Y: z\r\n\r\n%s\r\n' % (
            boundary, name.encode(), file, data,
        )  # fmt: skip
    return out + b"--%s--\r\n" % boundary


def decode(body: bytes, boundary: bytes, cuts: list[int]) -> Parts:
    parser, parts, current = MultipartParser(boundary), [], bytearray()
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in itertools.pairwise(edges):
        for event in parser.feed(body[start:end]):
            match event:
                case PartHead(name, filename):
                    head, current = (name, filename), bytearray()
                case PartData(data):
                    current += data
                case PartEnd():
                    parts.append((*head, bytes(current)))
    parser.finish()
    return parts


names = st.text("abcxyz_", min_size=1, max_size=8)
boundaries = st.binary(min_size=1, max_size=6).map(lambda b: b"B" + b.hex().encode())
data = st.lists(st.sampled_from([b"\r\n", b"--", b"-", b"\r", b"\n", b"B", b"\r\n--B", b"x", b"\x00"])).map(b"".join)


@given(st.lists(st.tuples(names, st.none() | names, data), max_size=4), boundaries, st.lists(st.integers(0, 10**6)))
def test_a_multipart_body_is_read_the_same_however_it_is_cut(parts: Parts, boundary: bytes, cuts: list[int]) -> None:
    clean = [part for part in parts if b"\r\n--" + boundary not in b"\r\n" + part[2] + b"\r\n"]
    assert decode(encode(clean, boundary), boundary, cuts) == clean


@given(st.binary(max_size=300), st.lists(st.integers(0, 10**6), max_size=5))
def test_no_body_breaks_the_parser(body: bytes, cuts: list[int]) -> None:
    try:
        decode(b"--b\r\n" + body, b"b", cuts)
    except MultipartError:
        return


def test_a_long_part_is_handed_on_while_it_arrives() -> None:
    parser = MultipartParser(b"b")
    list(parser.feed(b'--b\r\nContent-Disposition: form-data; name="f"; filename="C:\\\\dir\\\\x.spec"\r\n\r\n'))
    handed = sum(len(event.data) for event in parser.feed(b"x" * 100_000) if isinstance(event, PartData))
    assert handed > 99_000


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ('form-data; name="pkgs"; filename="a.spec"', "pkgs", "a.spec"),
        ("form-data; name=pkgs; filename=a.spec", "pkgs", "a.spec"),
        ('form-data; name="a"; filename="; name=evil"', "a", "; name=evil"),
        ('form-data; name="a"; filename="/x/../y"', "a", "y"),
        ('form-data; name="a"', "a", None),
        ('form-data; name="a"; filename=""', "a", ""),
    ],
)
def test_names_of_parts(disposition: str, name: str, filename: str | None) -> None:
    body = f"--b\r\nContent-Disposition: {disposition}\r\n\r\nx\r\n--b--".encode()
    assert decode(body, b"b", []) == [(name, filename, b"x")]


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", "x; boundary=\x00"])
def test_a_multipart_type_needs_a_boundary(content_type: str) -> None:
    with pytest.raises(MultipartError):
        boundary_of(content_type)


def test_a_boundary_may_be_quoted() -> None:
    assert boundary_of('multipart/form-data; charset=utf-8; boundary="a b:c"') == b"a b:c"

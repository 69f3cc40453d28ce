"""The header reader against files nobody vouches for."""

import io
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from copr_operator.backend.rpmheader import HeaderError, RpmHeader, read_header
from tests.unit.backend import rpms

GOOD = rpms.rpm(epoch=2, files=["/usr/bin/hello"], exclusive_arch=["x86_64"])
MAIN = GOOD.index(rpms.MAGIC, 100)
"""Where the main header begins."""


def read(data: bytes, limit: int = 2**20) -> RpmHeader:
    return read_header(io.BytesIO(data), limit)


def test_the_tags_of_a_binary_package_are_read() -> None:
    header = read(rpms.rpm("libstdc++", "1.0~rc1^git", "2.fc43", "noarch", epoch=3, sourcerpm="gcc-1-1.src.rpm"))
    assert header.file_name == "libstdc++-1.0~rc1^git-2.fc43.noarch.rpm"
    assert (header.epoch, header.sourcerpm) == (3, "gcc-1-1.src.rpm")


def test_a_source_package_is_src_whatever_its_arch_tag_says() -> None:
    header = read(
        rpms.rpm(arch="src", exclusive_arch=["x86_64", "i686"], exclude_arch=["s390x"], build_arch=["noarch"])
    )
    assert (header.arch, header.epoch, header.sourcerpm) == ("src", None, "")
    assert (header.exclusive_arch, header.exclude_arch, header.build_arch) == (
        ("x86_64", "i686"),
        ("s390x",),
        ("noarch",),
    )


def test_a_source_package_without_all_its_sources_is_nosrc() -> None:
    assert read(rpms.rpm(arch="nosrc")).arch == "nosrc"


@pytest.mark.parametrize(
    "length", [0, 3, 95, 96, 111, 112, MAIN, MAIN + 15, MAIN + 40, len(GOOD) - len(rpms.EMPTY_PAYLOAD) - 1]
)
def test_a_file_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(HeaderError):
        read(GOOD[:length])


def test_a_header_over_the_limit_is_refused_before_it_is_read() -> None:
    huge = GOOD[: MAIN + 8] + struct.pack(">II", 10, 2**32 - 1)
    with pytest.raises(HeaderError, match="at most"):
        read(huge)


@pytest.mark.parametrize("count", [0, 65536, 2**32 - 1])
def test_an_impossible_number_of_tags_is_refused(count: int) -> None:
    with pytest.raises(HeaderError):
        read(GOOD[: MAIN + 8] + struct.pack(">I", count) + GOOD[MAIN + 12 :])


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ((1000, rpms.INT32, [1]), "not a string"),
        ((1000, rpms.STRING, ""), "missing"),
        ((1003, rpms.STRING, "1"), "not one number"),
        ((1003, rpms.INT32, [1, 2]), "not one number"),
        ((1061, rpms.INT32, [1]), "not a list"),
        ((1061, rpms.STRING_ARRAY, ["x"] * 5000), "not a list"),
    ],
)
def test_tags_of_the_wrong_type_are_refused(tag: rpms.Tag, why: str) -> None:
    with pytest.raises(HeaderError, match=why):
        read(rpms.rpm(extra=[tag]))


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ((1116, rpms.INT32, [0]), "1116 is not 2 numbers"),
        ((1116, rpms.INT32, [0, 1]), "a directory that is none"),
        ((1116, rpms.STRING_ARRAY, ["x", "y"]), "1116 is not 2 numbers"),
        ((1117, rpms.INT32, [1, 2]), "1117 is not a list"),
        ((1117, rpms.STRING_ARRAY, ["x"] * 60), "a list of 60 strings; at most 55"),
        ((1118, rpms.INT32, [1]), "1118 is not a list"),
        ((1118, rpms.STRING_ARRAY, ["/" + "d" * 500]), "its list of files takes 1040 bytes; at most 1000"),
    ],
)
def test_a_list_of_files_that_is_none_or_too_long_is_refused(tag: rpms.Tag, why: str) -> None:
    good = rpms.rpm(files=["/usr/a", "/usr/b"])
    assert read_header(io.BytesIO(good), max_listing=1000).name == "hello"
    with pytest.raises(HeaderError, match=why):
        read_header(io.BytesIO(rpms.rpm(files=["/usr/a", "/usr/b"], extra=[tag])), max_listing=1000)


@pytest.mark.parametrize("missing", [1116, 1118])
def test_files_without_their_directories_are_refused(missing: int) -> None:
    with pytest.raises(HeaderError, match=str(missing)):
        read(rpms.rpm(files=["/usr/a"], drop=[missing]))


def test_a_header_without_a_name_is_refused() -> None:
    with pytest.raises(HeaderError, match="1000 is missing"):
        read(rpms.rpm(drop=[1000]))


def test_a_tag_that_is_there_twice_is_refused() -> None:
    with pytest.raises(HeaderError, match="twice"):
        read(rpms.rpm(extra=[(1000, rpms.STRING, "a"), (1000, rpms.STRING, "b")]))


def test_a_string_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(HeaderError, match="UTF-8"):
        read(GOOD.replace(b"hello\0", b"hell\xff\0"))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_changed_file_is_read_or_refused_and_nothing_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    try:
        header = read(bytes(data))
    except HeaderError:
        return
    assert header.name
    assert header.version
    assert header.release


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_header_behind_a_good_lead_is_read_or_refused(data: bytes) -> None:
    with pytest.raises(HeaderError):
        read(rpms.LEAD + rpms.MAGIC + data)


TAGS = [63, 1000, 1001, 1002, 1003, 1022, 1044, 1061, 1116, 1117, 1118]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(TAGS), st.integers(0, 9),
                       st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), min_size=1, max_size=12),
    st.binary(max_size=64),
)  # fmt: skip
def test_any_index_is_read_or_refused(entries: list[tuple[int, int, int, int]], store: bytes) -> None:
    index = b"".join(struct.pack(">IIII", *entry) for entry in entries)
    header = rpms.MAGIC + struct.pack(">II", len(entries), len(store)) + index + store
    try:
        read(GOOD[:MAIN] + header)
    except HeaderError:
        return

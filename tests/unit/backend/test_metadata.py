"""Splicing against the plain truth: a dict of packages."""

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from copr_operator.backend import metadata
from copr_operator.backend.metadata import KINDS, Group, Index, IndexDamagedError, PackageEntry, effective, render
from tests.unit.backend.world import packages_of

DIRECTORIES = [f"{number:08d}-p" for number in range(1, 9)]


def package(directory: str, number: int, content: int = 0) -> PackageEntry:
    pkgid = hashlib.sha256(repr((directory, number, content)).encode()).hexdigest()
    version = '<version epoch="0" ver="1" rel="1"/>'
    primary = (
        f'<package type="rpm">\n  <name>n{number}</name>\n  <arch>noarch</arch>\n  {version}\n'
        f'  <checksum type="sha256" pkgid="YES">{pkgid}</checksum>\n  <summary>S\u00e9</summary>\n'
        f"  <description>{'x' * (number * 7)}</description>\n  <packager></packager>\n  <url></url>\n"
        f'  <time file="1" build="1"/>\n  <size package="1" installed="1" archive="1"/>\n'
        f'  <location href="{directory}/n{number}.rpm"/>\n  <format>\n  </format>\n</package>\n'
    )
    rest = f'<package pkgid="{pkgid}" name="n{number}" arch="noarch">\n  {version}\n</package>\n'
    return PackageEntry(f"{directory}/n{number}.rpm", pkgid, (primary, rest, rest))


changes = st.lists(
    st.dictionaries(
        st.sampled_from(DIRECTORIES), st.tuples(st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=4
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(changes)
def test_any_sequence_of_changes_lists_exactly_what_was_asked_for(history: list[dict[str, tuple[int, int]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "GROUP_SIZE", 4)
        index, files = Index(), (b"", b"", b"")
        expected: dict[str, dict[str, str]] = {}
        for step in history:
            change = {
                directory: [package(directory, number, content) for number in range(count)]
                for directory, (count, content) in step.items()
            }
            rendered = render(index, change, files)
            files = rendered.files
            index = Index.load(Index(groups=rendered.index.groups, files=metadata.file_names(files)).dump())
            for directory, packages in change.items():
                expected[directory] = {entry.href: entry.pkgid for entry in packages}
            truth = {directory: packages for directory, packages in expected.items() if packages}
            assert index.by_directory == truth
            assert all(0 < len(group.packages) <= 4 for group in index.groups)
            assert not effective(index, change)
            for data, kind in zip(files, KINDS, strict=True):
                text = gzip.decompress(data).decode()
                assert text.count("<package ") == index.count, kind
                assert f'packages="{index.count}"' in text


def test_createrepo_c_reads_spliced_members_as_one_document(tmp_path: Path) -> None:
    index, files = Index(), (b"", b"", b"")
    expected: dict[str, str] = {}
    for directory in DIRECTORIES:
        added = [package(directory, number) for number in range(150)]
        rendered = render(index, {directory: added}, files)
        files = rendered.files
        index = Index(groups=rendered.index.groups, files=metadata.file_names(files))
        expected |= {entry.href: entry.pkgid for entry in added}
    paths = [tmp_path / name for name in KINDS]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    assert len(index.groups) == 6
    assert packages_of(*paths) == expected


def test_an_index_that_does_not_fit_its_files_is_damaged_not_believed() -> None:
    first = render(Index(), {DIRECTORIES[0]: [package(DIRECTORIES[0], 1)]}, ())
    second = render(Index(), {DIRECTORIES[0]: [package(DIRECTORIES[0], 5), package(DIRECTORIES[0], 6)]}, ())
    index = Index(groups=first.index.groups, files=("a", "b", "c"))
    with pytest.raises(IndexDamagedError):
        render(index, {DIRECTORIES[1]: [package(DIRECTORIES[1], 1)]}, second.files)


def test_an_index_with_wrong_lengths_can_not_cut_packages_in_pieces() -> None:
    directory = DIRECTORIES[0]
    rendered = render(Index(), {directory: [package(directory, 1), package(directory, 2)]}, ())
    (group,) = rendered.index.groups
    wrong = [replace(item, sizes=(item.sizes[0] - 1, *item.sizes[1:])) for item in group.packages]
    index = Index(groups=(Group(tuple(wrong), group.packed),), files=metadata.file_names(rendered.files))
    with pytest.raises(IndexDamagedError, match="another size"):
        render(index, {DIRECTORIES[1]: [package(DIRECTORIES[1], 1)]}, rendered.files)


def test_repomd_names_sizes_and_checksums_of_both_forms() -> None:
    rendered = render(Index(), {DIRECTORIES[0]: [package(DIRECTORIES[0], 1)]}, ())
    names = metadata.file_names(rendered.files)
    index = Index(revision=5, groups=rendered.index.groups, files=names)
    text = metadata.repomd(index, rendered.files).decode()
    assert "<revision>5</revision>" in text
    for name, data in zip(names, rendered.files, strict=True):
        assert f"repodata/{name}" in text
        assert f"<size>{len(data)}</size>" in text
        assert f"<open-size>{len(gzip.decompress(data))}</open-size>" in text
    assert text.count("<open-checksum") == 3

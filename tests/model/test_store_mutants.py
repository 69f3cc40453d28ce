"""The tests of the backend find mistakes: each of these mutants fails the test that is named beside it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from copr_operator.backend import control, http_agent, ingest, settlement, store, trash, uploads
from copr_operator.backend.guard import BuildGuard
from copr_operator.backend.repository import Repository
from tests.support.mutation import Edit, changed

HERE = Path(__file__).parents[1] / "unit" / "backend"


@dataclass(frozen=True)
class Mutant:
    name: str
    edit: Edit
    caught_by: str
    """File and name of a test in tests/unit/backend."""


STAGE_FILES = "for step, name, data in zip(_STORED, names, new.files, strict=True):"
MUTANTS = (
    Mutant(
        "repomd.xml comes before the files it names",
        Edit(Repository.publish, STAGE_FILES, f"self._store.put(self.repo.repomd, repomd)\n    {STAGE_FILES}"),
        "test_publication.py::test_a_publication_killed_at_any_step_leaves_the_old_repository_or_the_new",
    ),
    Mutant(
        "superseded metadata goes at once",
        Edit(Repository._clear, "at + self._grace > now", "False"),
        "test_publication.py::test_readers_of_the_old_repomd_find_its_files_for_the_grace_time",
    ),
    Mutant(
        "damaged metadata is carried on",
        Edit(Repository._read, 'hashlib.sha256(data).hexdigest() != name.partition("-")[0]', "False"),
        "test_publication.py::test_damaged_metadata_is_not_carried_on",
    ),
    Mutant(
        "a file is not synced",
        Edit(store.DirectoryStore._staged, "_sync(self.root / staged)", "pass"),
        "test_store.py::test_a_file_is_synced_before_it_gets_its_name_and_the_directory_afterwards",
    ),
    Mutant(
        "a directory is not synced",
        Edit(store.DirectoryStore._staged, "_sync(directory)", "pass"),
        "test_store.py::test_a_file_is_synced_before_it_gets_its_name_and_the_directory_afterwards",
    ),
    Mutant(
        "two processes write",
        Edit(store.DirectoryStore.locked, "fcntl.LOCK_EX", "fcntl.LOCK_SH"),
        "test_store.py::test_one_process_writes_at_a_time",
    ),
    Mutant(
        "symlinks are followed",
        Edit(store.DirectoryStore._checked, "stat_module.S_ISLNK(mode)", "False"),
        "test_store.py::test_symlinks_are_neither_read_nor_written_through",
    ),
    Mutant(
        "what was staged stays when it can not be stored",
        Edit(store.DirectoryStore._staged, "(self.root / staged).unlink(missing_ok=True)", "pass"),
        "test_store.py::test_a_failed_write_leaves_the_old_file_and_nothing_else",
    ),
    Mutant(
        "files go before the metadata",
        Edit(control.Control.remove_build, "if entry.due is None:",
             "await asyncio.to_thread(self._trash.empty, entry)\n    if entry.due is None:"),
        "test_control.py::test_a_removed_build_leaves_the_metadata_at_once_and_its_files_after_the_grace_time",
    ),
    Mutant(
        "a removal is forgotten by a restart",
        Edit(trash.Trash._save, 'self._store.put(f"{TRASH}/{entry.id}.json", entry.model_dump_json().encode())',
             "pass"),
        "test_control.py::test_a_removal_survives_a_restart",
    ),
    Mutant(
        "a removed build comes back",
        Edit(BuildGuard.working, "build_id in self._removed", "False"),
        "test_control.py::test_a_step_that_ends_after_its_build_was_removed_stores_nothing",
    ),
    Mutant(
        "another build's upload will do",
        Edit(http_agent.AgentRoutes.upload, "or ref != who.upload_ref", ""),
        "test_uploads.py::test_a_build_gets_its_own_upload_and_no_other",
    ),
    Mutant(
        "another namespace's upload will do",
        Edit(uploads.Uploads.open, "upload.namespace != namespace", "False"),
        "test_uploads.py::test_a_build_of_another_namespace_does_not_get_it",
    ),
    Mutant(
        "checksums are not compared",
        Edit(ingest._same_checksum, "file.sha256 != sha256", "False"),
        "test_agent.py::test_a_file_listed_with_another_checksum_than_it_was_sent_with_is_refused",
    ),
    Mutant(
        "what is replaced stays listed meanwhile",
        Edit(ingest.Ingest._withdraw_changed, "if listed and", "if False and"),
        "test_agent.py::test_packages_of_an_attempt_nobody_heard_of_are_replaced_without_a_broken_moment",
    ),
    Mutant(
        "a build that was canceled meanwhile is published",
        Edit(ingest._still_wanted, "(await look(who)).cancelled", "False"),
        "test_settlement.py::test_a_build_that_is_cancelled_at_any_moment_of_its_publication_is_not_listed",
    ),
    Mutant(
        "a publication is forgotten by a restart",
        Edit(settlement.Settlement.expect, "self._store.put(publication.path, publication.model_dump_json().encode())",
             "pass"),
        "test_settlement.py::test_a_backend_killed_at_any_moment_settles_after_its_restart",
    ),
    Mutant(
        "a cancellation is taken for the verdict",
        Edit(settlement._verdict, "else None", 'else False if build["spec"].get("cancel") else None'),
        "test_settlement.py::test_before_the_verdict_nothing_is_unlisted_not_even_after_a_cancellation",
    ),
    Mutant(
        "what was unlisted is still marked as a success",
        Edit(settlement.Settlement._unlist,
             'await asyncio.to_thread(self._store.delete, f"{RESULTS}/{publication.result}/{SUCCESS}")', "pass"),
        "test_settlement.py::test_a_repository_read_anew_from_its_rpms_does_not_list_what_was_unlisted",
    ),
)  # fmt: skip


class Outcomes:
    """A pytest plugin that keeps how each test's call ended."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            self.calls.append(report.outcome)


def outcomes(test: str) -> list[str]:
    """How that test ends, for each of its parameters."""
    seen = Outcomes()
    pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:faulthandler", str(HERE / test)], [seen])
    return seen.calls


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_it_fails_the_test_that_is_named_for_it(mutant: Mutant) -> None:
    with changed(mutant.edit):
        assert "failed" in outcomes(mutant.caught_by)


@pytest.mark.parametrize("test", sorted({mutant.caught_by for mutant in MUTANTS}))
def test_without_a_mutant_the_same_test_passes_in_the_same_way(test: str) -> None:
    assert set(outcomes(test)) == {"passed"}

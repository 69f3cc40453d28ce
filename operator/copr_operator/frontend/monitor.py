"""`copr-cli monitor`: for each package the newest build of it in each chroot. Pure."""

from collections.abc import Collection, Sequence

from copr_operator.core import names
from copr_operator.frontend.present import STATUS_NUMBERS, Json
from copr_operator.frontend.records import BuildRecord

FIELDS = ("url_build_log", "url_backend_log", "url_build")


def monitor(
    builds: Sequence[BuildRecord],
    dirname: str,
    chroots: Collection[str],
    fields: set[str],
    results_url: str,
    frontend_url: str,
) -> list[Json]:
    """`builds`: of one project, oldest first; `chroots`: those that it has now, others don't count. Nor do builds whose
    package isn't known yet."""
    found: dict[str, dict[str, Json]] = {}
    for record in reversed(builds):
        if record.dirname != dirname or record.package is None:
            continue
        for name, state in record.chroots:
            if name in chroots and name not in found.setdefault(record.package, {}):
                found[record.package][name] = _entry(record, name, state, fields, results_url, frontend_url)
    return [{"name": package, "chroots": dict(sorted(found[package].items()))} for package in sorted(found)]


def _entry(record: BuildRecord, chroot: str, state: str, fields: set[str], results_url: str, frontend_url: str) -> Json:
    entry: Json = {
        "state": state,
        "status": STATUS_NUMBERS[state],
        "build_id": record.id,
        "pkg_version": record.package_version,
    }
    directory = names.result_dir(record.owner, record.dirname, chroot, record.id, record.package or "")
    if "url_build_log" in fields:
        packed = "" if state in ("starting", "running") else ".gz"
        entry["url_build_log"] = f"{results_url}/results/{directory}/{names.LIVE_LOG}{packed}"
    if "url_backend_log" in fields:
        entry["url_backend_log"] = None  # there is one log of a build here
    if "url_build" in fields:
        entry["url_build"] = f"{frontend_url}/coprs/build/{record.id}"
    return entry

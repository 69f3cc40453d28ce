"""Requests about projects and their chroots -> CoprProject specs (contract 8). Pure."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from copr_operator.api.project import ProjectChroot, ProjectSpec
from copr_operator.api.project_settings import MAX_PRIORITY
from copr_operator.frontend.errors import CoprError, form_error
from copr_operator.frontend.fields import REQUIRED, Fields

_NAME_TEXT = "Name must contain only letters, digits, underscores, dashes and dots."
_FLAGS = (
    "unlisted_on_hp", "auto_prune", "follow_fedora_branching", "devel_mode", "multilib", "module_hotfixes",
    "fedora_review", "appstream",
)  # fmt: skip
_CHOICES = {"bootstrap": ("default", "on", "off", "image"), "isolation": ("default", "nspawn", "simple")}
_CHROOT_CHOICES = {
    "bootstrap": ("unchanged", "default", "on", "off", "image", "custom_image"),
    "isolation": ("unchanged", "default", "nspawn", "simple"),
}
STORAGE = ("backend", "pulp")
_OWNERS = ("persistent", "autoPrune", "contact")


def fields_of(values: Mapping[str, Any]) -> Fields:
    """With today's names for what has had others."""
    renamed = Fields(values, form_error).rename(repos="additional_repos", disable_createrepo="devel_mode")
    return renamed.rename(build_enable_net="enable_net")


def new_name(fields: Fields) -> str | None:
    """Name of a new project."""
    name = fields.matching("name", r"[A-Za-z0-9][A-Za-z0-9_.+-]*", _NAME_TEXT, required=True)
    if name is not None and name.isdigit():
        fields.problem("name", "Project's name can not be just number.")
    return name


def new_project(fields: Fields, owner: str, name: str, active: Collection[str]) -> ProjectSpec:
    """The spec of a new project. Raises CoprError 400."""
    if not fields.words("chroots"):
        fields.problem("chroots", "At least one chroot must be selected")
    changes = read_settings(fields, active, ())
    persistent = fields.flag("persistent") or False
    if persistent and changes["api"].get("deleteAfterDays"):
        fields.problem("delete_after_days", "'delete after' can not be combined with persistent")
    fields.check()
    # As in Copr, whose form has another default than its table: here that of projects made with kubectl.
    changes["api"] = {"appstream": False, **changes["api"], "persistent": persistent}
    return _validated({"owner": owner, "name": name, **changes})


def edited_project(fields: Fields, old: ProjectSpec, active: Collection[str]) -> ProjectSpec:
    """What was not given stays as it is; nor does `persistent`, which is given once and for all."""
    changes = read_settings(fields, active, old.chroots)
    fields.check()
    before = dump(old)
    changes["api"] = {**before.get("api", {}), **changes["api"]}
    return _validated({**before, **changes})


def forked_project(old: ProjectSpec, owner: str, name: str) -> ProjectSpec:
    """Somebody's own project with the settings of another, but for those that are of its owner (Copr's ProjectForking).
    Who may do what in that one is not copied."""
    spec = {**dump(old), "owner": owner, "name": name}
    spec.pop("permissions", None)
    spec["api"] = {key: value for key, value in spec.get("api", {}).items() if key not in _OWNERS}
    return _validated(spec)


def dump(spec: ProjectSpec) -> dict[str, Any]:
    """As it is best written: without what was not given, or is the default anyway."""
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


def read_settings(fields: Fields, active: Collection[str], old: Collection[ProjectChroot]) -> dict[str, Any]:
    """Members of a project's spec that the request gives; `api` is among them always."""
    changes: dict[str, Any] = {"api": _api_settings(fields)}
    if "description" in fields:
        changes["description"] = fields.text("description") or ""
    if (net := fields.flag("enable_net")) is not None:
        changes["enableNet"] = net
    if (private := fields.flag("private")) is not None:
        changes["private"] = private
    if (repos := fields.words("additional_repos", most=32)) is not None:
        changes["additionalRepos"] = repos
    if chroots := fields.words("chroots", most=64):
        changes["chroots"] = _chroots(fields, chroots, active, old)
    if fields.choice("storage", STORAGE) == "pulp":
        fields.problem("storage", "Only backend is supported here.")
    return changes


def _api_settings(fields: Fields) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if "instructions" in fields:
        settings["instructions"] = fields.text("instructions", longest=16384) or ""
    for name, member in (("homepage", "homepage"), ("contact", "contact"), ("bootstrap_image", "bootstrapImage")):
        if name in fields:
            settings[member] = fields.text(name)
    for name in _FLAGS:
        if (flag := fields.flag(name)) is not None:
            settings[_camel(name)] = flag
    for name, choices in _CHOICES.items():
        if (choice := fields.choice(name, choices)) is not None:
            settings[name] = choice
    if (days := fields.number("delete_after_days", -1, 720)) is not None:
        settings["deleteAfterDays"] = None if days == -1 else days  # -1: never, as in Copr
    if (priority := fields.number("repo_priority", 1, MAX_PRIORITY)) is not None:
        settings["repoPriority"] = priority
    if (words := fields.words("runtime_dependencies", most=64)) is not None:
        settings["runtimeDependencies"] = words
    if (words := fields.words("packit_forge_projects_allowed", most=64)) is not None:
        settings["packitForgeProjectsAllowed"] = [_forge_project(word) for word in words]
    return settings


def _forge_project(text: str) -> str:
    """`github.com/owner/name`, as Packit says it, of a URL (Copr's StripUrlSchemaListFilter)."""
    scheme, separator, rest = text.partition("://")
    return re.split("[?#]", rest)[0] if separator and scheme.isalpha() else text


def _chroots(
    fields: Fields, names: Collection[str], active: Collection[str], old: Collection[ProjectChroot]
) -> list[dict[str, Any]]:
    """Chroots keep the settings that they have. A disabled chroot stays where it is already."""
    held = {chroot.name: chroot for chroot in old}
    for name in names:
        if name not in active and name not in held:
            fields.problem("chroots", f"'{name[:100]}' is not a valid choice for this field.")
    return [
        held[name].model_dump(mode="json", by_alias=True, exclude_defaults=True) if name in held else {"name": name}
        for name in dict.fromkeys(names)
    ]


# -- one chroot of a project -------------------------------------------------------------------------------------------

_CHROOT_LISTS = {
    "additional_repos": "additionalRepos",
    "additional_packages": "additionalPackages",
    "with_opts": "withOpts",
    "without_opts": "withoutOpts",
}
RESETTABLE = (*_CHROOT_LISTS, "additional_modules", "bootstrap", "bootstrap_image", "isolation", "comps_name")


def edited_chroot(fields: Fields, old: ProjectSpec, name: str, *, comps: bool) -> ProjectSpec:
    """The project with other settings of one of its chroots. `comps`: a comps.xml was sent. Raises CoprError 400."""
    fields.rename(repos="additional_repos", buildroot_pkgs="additional_packages", module_toggle="additional_modules")
    chroot = next(chroot for chroot in old.chroots if chroot.name == name)
    before = chroot.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    changes, api = _reset(fields, f"{old.owner}/{old.name}/{name}", before)
    for field, member in _CHROOT_LISTS.items():
        if (words := fields.words(field, most=64)) is not None:
            changes[member] = words
    if "additional_modules" in fields:
        text = (fields.text("additional_modules") or "").replace(",", " ")
        api["additionalModules"] = text.split()
    for field, choices in _CHROOT_CHOICES.items():
        if (choice := fields.choice(field, choices)) is not None:
            api[field] = choice
    if image := fields.text("bootstrap_image"):
        api["bootstrapImage"] = image
    if api.get("bootstrap") == "custom_image" and not api.get("bootstrapImage"):
        fields.problem("bootstrap_image", "Custom image is selected, but not specified")
    if comps:
        fields.problem("upload_comps", "comps.xml is not supported here.")
    fields.check()
    new = {**before, **changes, "api": api}
    chroots = [new if entry["name"] == name else entry for entry in dump(old)["chroots"]]
    return _validated({**dump(old), "chroots": chroots})


def _reset(fields: Fields, full_name: str, before: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the chroot, and those it keeps for the API, with `reset_fields` set to their defaults."""
    changes: dict[str, Any] = {}
    api = dict(before.get("api", {}))
    for field in fields.words("reset_fields") or ():
        if field not in RESETTABLE:
            raise CoprError(
                400,
                f"Trying to reset an invalid attribute: {field[:100]}\n"
                f"See `copr-cli get-chroot {full_name}' for all the possible attributes",
            )
        if field in _CHROOT_LISTS:
            changes[_CHROOT_LISTS[field]] = []
        else:
            api.pop(_camel(field), None)
    return changes, api


# -- deletion and permissions ------------------------------------------------------------------------------------------


def check_verified(fields: Fields) -> None:
    """A deletion must be meant. Raises CoprError 400."""
    if not fields.flag("verify"):
        fields.problem("verify", REQUIRED)
    fields.check()


def changed_permissions(values: Mapping[str, Any], old: ProjectSpec) -> tuple[ProjectSpec, list[str]]:
    """`{user: {builder|admin: state}}` -> the project, and the users whose permissions are others now.

    Raises CoprError 400.
    """
    if not values:
        raise CoprError(400, "no permission change requested")
    held = {entry.user: {"builder": entry.builder, "admin": entry.admin} for entry in old.permissions}
    updated = []
    for user, wanted in values.items():
        if not isinstance(wanted, Mapping) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", user):
            raise CoprError(
                400,
                "request is not a dictionary, expected format: "
                "{'username': {'admin': 'nothing', 'builder': 'request'} ...}",
            )
        if user == old.owner:
            raise CoprError(400, f"user '{user}' is owner of the '{old.owner}/{old.name}' project")
        before = held.setdefault(user, {"builder": "nothing", "admin": "nothing"})
        after: dict[str, Any] = {**before}
        for permission, state in wanted.items():
            after[permission] = _state(permission, state)
        if after != before:
            updated.append(user)
        held[user] = after
    kept = [{"user": user, **states} for user, states in held.items() if set(states.values()) != {"nothing"}]
    return _validated({**dump(old), "permissions": kept}), updated


def requested_permissions(values: Mapping[str, Any], user: str, old: ProjectSpec) -> tuple[ProjectSpec, list[str]]:
    """`{builder|admin: true|false}`: a user asks for permissions, or no longer does. Raises CoprError 400."""
    if not values:
        raise CoprError(400, "no permission requested")
    held = next((entry for entry in old.permissions if entry.user == user), None)
    states: dict[str, str] = {}
    for permission, wanted in values.items():
        if not isinstance(wanted, bool):
            raise CoprError(400, f"invalid '{permission[:100]}' permission request '{wanted}', expected True or False")
        if wanted and permission in ("admin", "builder") and getattr(held, permission, "") == "approved":
            raise CoprError(400, f"You already are '{permission}' in '{old.owner}/{old.name}'")
        states[permission] = "request" if wanted else "nothing"
    return changed_permissions({user: states}, old)


def _state(permission: str, state: object) -> str:
    if permission not in ("admin", "builder"):
        raise CoprError(400, f"invalid permission '{permission[:100]}', expected 'admin' or 'builder'")
    if state not in ("nothing", "request", "approved"):
        raise CoprError(
            400, f"invalid '{permission}' permission state '{str(state)[:100]}', use {{nothing|request|approved}}"
        )
    return str(state)


def _validated(spec: Mapping[str, Any]) -> ProjectSpec:
    """Raises CoprError 400 with the API's name of each field that the cluster would refuse."""
    try:
        return ProjectSpec.model_validate(spec)
    except ValidationError as error:
        problems: dict[str, list[str]] = {}
        for entry in error.errors()[:20]:
            names = [str(part) for part in entry["loc"] if isinstance(part, str) and part != "api"]
            problems.setdefault(_snake(names[-1] if names else "project"), []).append(entry["msg"])
        raise form_error(problems) from None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)

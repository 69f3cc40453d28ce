"""Every reason a build can fail or wait for: its class, what it means, what to do. The only place reasons are named.

The class says whose fault it is and so whether trying again can help: `user` (the source, the spec, the limits chosen),
`infra` (the cluster; retried up to names.MAX_ATTEMPTS) or `policy` (refused by the administrator's settings).
Untrusted code can only ever produce `user` and `policy` reasons: else it could buy free retries.
"""

from dataclasses import dataclass
from enum import StrEnum


class FailureClass(StrEnum):
    USER = "user"
    INFRA = "infra"
    POLICY = "policy"


@dataclass(frozen=True)
class Reason:
    name: str
    failure_class: FailureClass
    meaning: str
    remedy: str


_USER, _INFRA, _POLICY = FailureClass.USER, FailureClass.INFRA, FailureClass.POLICY

FAILURES: dict[str, Reason] = {
    reason.name: reason
    for reason in (
        # before anything runs
        Reason("NoChroots", _USER, "No chroot is left to build in.", "Name chroots that the project has enabled."),
        Reason("ChrootNotInProject", _USER, "A wanted chroot is not one of the project's, or was taken out of it before it was begun.",
               "Enable it in the project."),
        Reason("NothingToFork", _USER, "The build to fork from has no results that this one may take over.",
               "Name one that succeeded, in a public project or in a private one of the same namespace."),
        Reason("QueueTimeout", _USER, "The build waited longer than spec.queueTimeout.", "See what it waited for; raise the timeout."),
        Reason("CircularWait", _USER, "The builds that afterBuild, withBuild and rerunOf name wait for each other.",
               "Submit the build without the link that closes the circle."),
        Reason("OriginalOfOtherProject", _USER, "The build to rerun is of another project or directory.", "Rerun it where it was built."),
        Reason("OriginalWithoutSRPM", _USER, "The build to rerun has no SRPM.", "Submit its source again."),
        Reason("NothingToRerun", _USER, "No chroot of the build to rerun has failed, or none of those asked for.",
               "Name chroots that failed, or submit the source again."),
        Reason("SRPMNotFound", _USER, "The SRPM of the build to rerun is not (or no longer) in the store as it was.",
               "Submit its source again."),
        Reason("NameCollision", _POLICY, "A Job of the needed name belongs to something else.", "Remove that Job."),
        Reason("JobRefused", _POLICY, "The API server refused the Job.", "See the message; an administrator must allow it."),
        # source step
        Reason("SourceDownloadFailed", _USER, "The source could not be downloaded.", "Check the URL and that it can be reached."),
        Reason("SourceRefused", _USER, "The source is of a kind that can't be built.", "Give an .src.rpm or a .spec."),
        Reason("UploadNotFound", _USER, "The uploaded file is not (or no longer) there.", "Upload it again."),
        Reason("ChecksumMismatch", _USER, "A file is not the one that was announced.", "Upload it again."),
        Reason("UnknownDistGit", _USER, "The installation knows no dist-git of that name.", "Name one of those in the message."),
        Reason("AddressRefused", _POLICY, "The source is on a host that builds may not connect to.",
               "Use a public host, or have the administrator allow this one."),
        Reason("CredentialsRefused", _USER, "The Secret can't be used for this repository.",
               "Give it type kubernetes.io/basic-auth or ssh-auth, and the repository's host in its key `hosts`."),
        Reason("CloneFailed", _USER, "The repository could not be cloned.", "Check URL, credentials and submodules."),
        Reason("CommittishNotFound", _USER, "The repository has no such branch, tag, commit or revision.", "Name one that it has."),
        Reason("LookasideMismatch", _USER, "A file of the lookaside cache is missing or not the one that `sources` names.",
               "Upload it again, or correct the file `sources`."),
        Reason("NoSpec", _USER, "There is no spec where one is needed.", "Name it, or put it where the source says."),
        Reason("SeveralSpecs", _USER, "There are several specs and the source does not say which.", "Name one of them."),
        Reason("ScriptFailed", _USER, "The script of the custom source failed.", "See the end of the log."),
        Reason("NoLicense", _USER, "The gem names no license, so nobody may use it.", "Have its author name one."),
        Reason("SourceFailed", _USER, "Making the SRPM failed.", "See the end of the log."),
        Reason("NoSRPM", _USER, "The source step ended without an SRPM.", "See the log: exactly one .src.rpm is needed."),
        Reason("SeveralSRPMs", _USER, "The source step made more than one SRPM.", "Make exactly one."),
        Reason("SRPMInvalid", _USER, "The SRPM can't be read or installed.", "Make it again with rpmbuild -bs."),
        Reason("PackageNameTooLong", _USER, "The package's name has more than 100 characters.", "Rename the package."),
        # rpm step
        Reason("DependenciesUnresolved", _USER, "The build dependencies can't be installed.",
               "See the log for what is missing; add a repository or build it first."),
        Reason("BuildFailed", _USER, "rpmbuild failed.", "See the end of the log."),
        Reason("Timeout", _USER, "The step ran longer than its timeout.", "Raise spec.timeout or make the build faster."),
        Reason("OOMKilled", _USER, "The step used more memory than it may.", "Raise spec.memoryLimitMB or use less."),
        Reason("StorageLimit", _USER, "The step used more disk than it may.", "Use less, or ask for a larger limit in the chroot."),
        Reason("ResultsRefused", _USER, "The results are not what this build may publish.", "See the message for the file."),
        Reason("NoResults", _USER, "The build made no RPM for this chroot.", "See the spec's %files sections."),
        # the chroot and the cluster
        Reason("NoPackageManager", _POLICY, "The chroot's image has none of dnf5, dnf and microdnf.", "Use another image."),
        Reason("ToolMissing", _POLICY, "The image lacks a program the step needs.", "Use an image that has it."),
        Reason("NetworkIsolationUnavailable", _POLICY, "The build can't be cut off from the network on this node.",
               "Allow nested user namespaces in build pods, or choose another network profile."),
        Reason("UserNamespacesUnavailable", _POLICY, "The cluster or the node can't give the build a user namespace of its own.",
               "Kubernetes 1.33 or newer with UserNamespacesSupport on; nodes with Linux 6.3 or newer, a runtime that knows user namespaces "
               "and volumes that can be idmapped; or select other nodes in the CoprChroot."),
        Reason("ImagePullFailed", _INFRA, "The image of a container could not be pulled.", "Check its name and the pull secrets."),
        Reason("StartingTimeout", _INFRA, "The pod had a node and did not start in time.", "See the pod's events."),
        Reason("ImportingTimeout", _INFRA, "The results were not stored in time.", "See the backend's log."),
        Reason("RunningTimeout", _USER, "The pod outlived every deadline of its step.", "See the log; the build kept its own timeout from working."),
        Reason("Disrupted", _INFRA, "The pod was evicted, preempted or its node went away.", "Nothing: it is retried."),
        Reason("JobLost", _INFRA, "The Job vanished before its result was seen.", "Nothing: it is retried."),
        Reason("PodLost", _INFRA, "The Job failed and its pod is gone.", "Nothing: it is retried."),
        Reason("FetchFailed", _INFRA, "The inputs could not be brought into the pod.", "See the fetch container's log."),
        Reason("CollectFailed", _INFRA, "The results could not be stored.", "See the collect container's log."),
        Reason("StorageFull", _INFRA, "The results store is full.", "Free or add space."),
        Reason("ContainerError", _INFRA, "A container could not be started.", "See the message and the pod's events."),
    )
}  # fmt: skip

WAITS: dict[str, str] = {
    "Accepted": "The build has its id and its chroots, and is about to start.",
    "SpecNotUnderstood": "The controller is older than the CRDs, and can't read what the message names. The build starts when the controller is upgraded; until then it can be canceled and deleted.",
    "ProjectNotFound": "The CoprProject does not exist in this namespace yet.",
    "ProjectNotReady": "The CoprProject is not ready; its conditions say why.",
    "ChrootNotFound": "The CoprChroot is not defined in the installation.",
    "ChrootDisabled": "The CoprChroot is disabled by the administrator.",
    "RepositoryNotReady": "The (empty) repository of a chroot is not there yet.",
    "BackendUnavailable": "The backend can't be reached.",
    "OriginalNotFound": "The build to rerun (spec.rerunOf) does not exist in this namespace.",
    "WaitingForOriginal": "The build to rerun (spec.rerunOf) has not ended.",
    "WaitingForBatch": "Another build must end first (spec.afterBuild).",
    "Queued": "The Job exists or is due, and has no pod yet.",
    "Held": "Its Job or pod can't start: quota, admission, the image, a volume, a container's settings or a suspension; the message says which. It starts by itself when that is mended.",
    "UserNamespacesUnavailable": "The node can't give the pod a user namespace of its own. It starts by itself when that is mended in the time a pod has to start.",
    "WaitingForPreviousJob": "A Job of the previous attempt, or one of the same name from a deleted build, is still going away.",
    "Unschedulable": "No node can take the pod yet; the message is the scheduler's. It starts by itself when one can: check free resources and node selectors.",
    "Starting": "The pod is being scheduled or its images are being pulled.",
    "SourceRunning": "The SRPM is being made.",
    "Importing": "The SRPM is being stored.",
    "Building": "RPMs are being built.",
    "Retrying": "An infrastructure failure is being retried.",
}


PACKAGES: dict[str, str] = {
    "Defined": "No build has been made of the package.",
    "Building": "The newest build has not ended.",
    "BuildSucceeded": "The newest build succeeded, or was skipped in every chroot.",
    "BuildFailed": "The newest build failed; its own status says why.",
    "BuildCanceled": "The newest build was canceled.",
    "BuildRefused": "The API server would not create the build: quota or admission; the message says which. It is tried again.",
    "NameCollision": "A CoprBuild of the needed name belongs to something else. Delete it, or rename it.",
    "NameTaken": "Another CoprPackage of the namespace defines this package: the one whose name comes first counts.",
    "SourceMissing": "buildOnChange is set, and there is no source to build.",
}
"""Of a CoprPackage's conditions."""
STALLED_PACKAGES = frozenset({"BuildFailed", "BuildCanceled", "NameCollision", "NameTaken", "SourceMissing"})
"""Those that time alone does not mend."""

PROJECTS: dict[str, str] = {
    "NameHeld": "The name is this project's.",
    "NameTaken": "Another CoprProject has the name, the message says which. It passes on only when that one is gone with its results.",
    "Ready": "Every repository is there.",
    "RepositoryNotReady": "The (empty) repository of a chroot is not there yet.",
    "BackendUnavailable": "The backend can't be reached.",
    "BuildsRunning": "Its deletion waits for Jobs of its builds that still run.",
    "ResultsLeft": "Its deletion waits until the backend has removed all its results: from the repositories at once, the files after the grace time (10 min).",
}
"""Reasons of a CoprProject's conditions."""


def failure_class(reason: str) -> FailureClass:
    """The class of a reason; unknown reasons are programming errors (KeyError)."""
    return FAILURES[reason].failure_class

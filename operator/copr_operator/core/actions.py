"""What a plan can ask the executor to do. Each is safe to do twice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Adopt:
    """Set our finalizer and labels: the build's one metadata write."""


@dataclass(frozen=True)
class CreateJob:
    """Create the Job of this step and attempt; its manifest follows from the world (core.manifests)."""

    step: str
    attempt: int


@dataclass(frozen=True)
class DeleteJob:
    """Delete a Job and its pods, foreground: the Job stays until `collect` has saved the logs."""

    name: str
    uid: str


@dataclass(frozen=True)
class ReadJobEvents:
    """Find out why a Job has no pod: quota and admission refusals show in Events only."""

    job: str
    uid: str


@dataclass(frozen=True)
class ReadPodEvents:
    """Find out why a pod that has its node does not start: what its sandbox and volumes lack shows in Events only."""

    pod: str
    uid: str


@dataclass(frozen=True)
class EnsureDirectory:
    """Make the repositories of a project directory such as `demo:pr:1`."""


@dataclass(frozen=True)
class TakeSrpm:
    """Have the backend make the SRPM of the build to rerun this build's own (core.reruns)."""


@dataclass(frozen=True)
class CopyResults:
    """Have the backend take over the results of the build that this one is forked from."""


@dataclass(frozen=True)
class RemoveResults:
    """Take the build out of every repository, then drop its files."""


@dataclass(frozen=True)
class RemoveFinalizer:
    """Let the object go."""


Action = (
    Adopt
    | CreateJob
    | DeleteJob
    | ReadJobEvents
    | ReadPodEvents
    | EnsureDirectory
    | TakeSrpm
    | CopyResults
    | RemoveResults
    | RemoveFinalizer
)

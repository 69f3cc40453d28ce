"""How the agents fail: always with a reason of core.reasons, from which the exit code follows."""

from copr_operator.core.reasons import FAILURES, FailureClass
from copr_operator.core.wire import AgentExit, StepFailure


class AgentError(Exception):
    """A step can't go on. `reason` is a name of core.reasons.FAILURES."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message

    @property
    def exit_code(self) -> AgentExit:
        """INFRA for what the cluster is to blame for (the controller retries), else REFUSED."""
        infra = FAILURES[self.reason].failure_class is FailureClass.INFRA
        return AgentExit.INFRA if infra else AgentExit.REFUSED

    def as_step_failure(self) -> StepFailure:
        return StepFailure(reason=self.reason, message=self.message)

"""How the frontend says no: always `{"error": text}`. Clients raise on that key, whatever the status (contract 1.5)."""

from collections.abc import Mapping, Sequence


class CoprError(Exception):
    """An answer other than 2xx. A message of several lines is shown as a list by the client."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, str]:
        return {"error": self.message}


class LoginError(CoprError):
    """401, for whatever reason: which one is nobody's business who can't log in."""

    def __init__(self, frontend_url: str) -> None:
        text = f"Login invalid/expired. Please visit {frontend_url}/api to get or renew your API token."
        super().__init__(401, text)

    @property
    def body(self) -> dict[str, str]:
        return {"output": "notok", "error": self.message}


Problems = Mapping[str, Sequence[str]]
"""What is wrong, by field."""


def build_form_error(problems: Problems) -> CoprError:
    """Build endpoints: a Python dict's repr inside the text (Copr's apiv3_builds.py)."""
    return CoprError(400, f"Bad request parameters: { {name: list(texts) for name, texts in problems.items()} }")


def form_error(problems: Problems) -> CoprError:
    """Project, package and chroot endpoints: a line `field: text` for each problem (Copr's InvalidForm)."""
    return CoprError(400, "\n".join(f"{name}: {text}" for name, texts in problems.items() for text in texts))


def no_project(owner: str, project: str) -> CoprError:
    return CoprError(404, f"Project {owner}/{project} does not exist.")


def no_build(build_id: object) -> CoprError:
    return CoprError(404, f"Build {build_id} does not exist.")


def unavailable(message: str) -> CoprError:
    """Worth the same request again later."""
    return CoprError(503, message, {"Retry-After": "5"})

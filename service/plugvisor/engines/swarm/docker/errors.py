"""Problems of the swarm's managers, and of a call to them."""

from __future__ import annotations

import errno
import ssl
from enum import StrEnum

import httpx


class DockerError(Exception):
    """The Engine refuses a call. Its message may name files and addresses: it is for the log.

    Attributes:
        status: of the HTTP answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Problem(StrEnum):
    """Why no manager responds, for a client; of several problems, the first of these is reported."""

    NO_QUORUM = "the swarm has lost its quorum: more than half of its managers must be up and reach each other"
    NOT_A_MANAGER = "the Docker Engine is not a manager of a swarm"
    LOCKED = "the swarm is locked: a manager that was restarted waits for its key (docker swarm unlock)"
    TOO_OLD = "the Docker Engine is too old: at least version 20.10 is needed"
    CERTIFICATES = "the certificates of the Docker Engine or of this service cannot be used; the log says why"
    NOT_ALLOWED = "the user of this service is not allowed to use the Docker Engine's socket"
    NOT_DOCKER = "what answers in the place of a Docker Engine is something else; the log says more"
    SILENT = "no manager of the swarm answers in time"
    UNREACHABLE = "no manager of the swarm answers"


class HostFailed(Exception):
    """A manager did not do a call; another one might.

    Attributes:
        problem: for a client.
        is_done_maybe: whether the call may have been executed nevertheless.
    """

    def __init__(self, problem: Problem, message: str, *, is_done_maybe: bool = False) -> None:
        super().__init__(message)
        self.problem = problem
        self.is_done_maybe = is_done_maybe


def judge_transport_error(error: httpx.HTTPError) -> HostFailed:
    """The problem behind a request that has failed below HTTP."""
    causes = list(_list_causes(error))
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.ConnectError):
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            return HostFailed(Problem.CERTIFICATES, text)
        if any(isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM) for cause in causes):
            return HostFailed(Problem.NOT_ALLOWED, text)
        return HostFailed(Problem.UNREACHABLE, text)
    if any(
        isinstance(cause, ssl.SSLError) for cause in causes
    ):  # with TLS 1.3 a client is rejected after it is connected
        return HostFailed(Problem.CERTIFICATES, text)
    return HostFailed(Problem.UNREACHABLE, text, is_done_maybe=True)


def judge_answer(status: int, message: str) -> HostFailed | None:
    """The manager's problem behind an error; None if it is about the call alone."""
    if "does not have a leader" in message or "no elected primary cluster manager" in message.lower():
        return HostFailed(Problem.NO_QUORUM, message)
    if "not a swarm manager" in message or "not part of a swarm" in message:
        return HostFailed(Problem.NOT_A_MANAGER, message)
    if "needs to be unlocked" in message:
        return HostFailed(Problem.LOCKED, message)
    if "losing leader status" in message:
        return HostFailed(Problem.NO_QUORUM, message, is_done_maybe=True)
    if "code = DeadlineExceeded" in message or "context deadline exceeded" in message:
        return HostFailed(Problem.NO_QUORUM, message, is_done_maybe=True)
    if "code = Unavailable" in message or "code = Canceled" in message or status == 503:
        return HostFailed(Problem.SILENT, message, is_done_maybe=True)
    return None


def _list_causes(error: BaseException | None) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes

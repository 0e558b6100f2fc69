"""One attempt at a call: the form that the server wants, and what is tried where it refuses that form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from valign.teachers.calls import Call, RequestForm, request_body
from valign.teachers.faults import Fault
from valign.teachers.refusals import REFUSALS, REFUSING, TOO_LONG, next_form
from valign.teachers.servers import Server


@dataclass(frozen=True)
class Trial:
    """A form that a call is tried in after refusals; the server adopts it where the call then succeeds.

    Attributes:
        form: The form.
        steps: The forms on the way to it, each with the server's words at the refusal that led there.
    """

    form: RequestForm
    steps: tuple[tuple[RequestForm, str], ...] = ()


@dataclass(frozen=True)
class Attempt:
    """What is sent to a server.

    Attributes:
        call: What is asked for; of several completions only the first where the server takes no ``n``.
        form: How the server wants to be asked.
        thinking_tokens: Tokens on top, to think before the answer.
        steps: As of the trial that it is, if it is one.
    """

    call: Call
    form: RequestForm
    thinking_tokens: int
    steps: tuple[tuple[RequestForm, str], ...] = ()

    @classmethod
    def of(cls, call: Call, server: Server, trial: Trial | None) -> Attempt:
        """Return what to send a server for a call."""
        form = server.form.joined(trial.form) if trial else server.form
        asked = replace(call, numbers=call.numbers[:1]) if "n" in form.left_out else call
        return cls(asked, form, server.thinking_tokens, trial.steps if trial else ())

    def body(self, model: str) -> dict[str, Any]:
        """Return the body of the request."""
        return request_body(model, self.call, self.form, self.thinking_tokens)

    def after(self, server: Server, fault: Fault) -> Trial | None:
        """Return what to try next at a server that has refused this; None where trying is no use.

        A call that was too long is tried with less room to think, if it had some.
        """
        if fault.status not in REFUSALS and not (fault.status and REFUSING.search(fault.said)):
            return None
        if TOO_LONG.search(fault.said):
            return Trial(self.form, self.steps) if server.narrow(self.thinking_tokens) else None
        form = next_form(self.form, self.body(""), fault.said, fault.fields)
        return Trial(form, (*self.steps, (form, fault.said))) if form else None

"""The one exception that reaches a user: what is wrong, where, and what to do, in a single line."""


class ValignError(Exception):
    """Bad input or an impossible set-up; its message is one line that names the remedy.

    Entry points print the message alone, without a traceback, and exit with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

"""The errors that end a run, each with its exit code."""


class UserError(Exception):
    """Invalid arguments or input: what was found, what was expected, what to do. Nothing has been written.

    Exit code 2.
    """

    exit_code = 2


class NumericalError(Exception):
    """A loss or a score is NaN or infinite; a reproducer has been saved in the run folder.

    Exit code 3.
    """

    exit_code = 3


class Interrupted(KeyboardInterrupt):
    """A signal stopped the run; its state has been saved. Not an `Exception`, so that handlers of those do not continue.

    Exit code 128 + signal number: 130 after SIGINT, 143 after SIGTERM.
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number

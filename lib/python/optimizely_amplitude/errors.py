"""The exceptions of this package. A listener call, flush() and close() raise none of them."""


class OptimizelyAmplitudeError(Exception):
    """Any error that this package raises."""


class OptionError(OptimizelyAmplitudeError, TypeError):
    """An option or an argument is wrong, misspelt or missing; the message names it."""


class ClientError(OptimizelyAmplitudeError, TypeError):
    """What was given to attach() is not a client of the Optimizely SDK."""


class ClosedError(OptimizelyAmplitudeError, RuntimeError):
    """attach() was called after close()."""

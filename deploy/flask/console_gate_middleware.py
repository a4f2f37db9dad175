"""The former name of `console_gate.wsgi`, for Consoles that import it."""

from console_gate.assertion import ConfigurationError, Keys, Refuse, SharedKeys
from console_gate.wsgi import ConsoleGateMiddleware

__all__ = ["ConfigurationError", "ConsoleGateMiddleware", "Keys", "Refuse", "SharedKeys"]

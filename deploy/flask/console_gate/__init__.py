"""Console's side of console-gate.

    console_gate.flask     the two lines for Flask: `ConsoleGate(app, ...)` and `defer(require_role)`
    console_gate.django    the same for Django
    console_gate.wsgi      a middleware that refuses every request that did not come through the gate
    console_gate.testing   assertions for the tests of an application
"""

from console_gate.assertion import NOBODY, Assertion, ConfigurationError, SharedKeys
from console_gate.wsgi import ConsoleGateMiddleware

__version__ = "0.1.0"
__all__ = ["NOBODY", "Assertion", "ConfigurationError", "ConsoleGateMiddleware", "SharedKeys", "__version__"]

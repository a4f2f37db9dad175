"""What Flask does with a slash at the end that is missing or too many, rule by rule."""

from flask import Flask

RULES = ["/x", "/x/", "/<name>", "/<name>/", "/<path:rest>", "/<path:rest>/"]


def outcome(rule: str, strict: bool, path: str) -> str:
    app = Flask(__name__, static_folder=None)
    app.add_url_rule(rule, "view", lambda **values: "view", strict_slashes=strict)
    status = app.test_client().get(path).status_code
    return {200: "served", 308: "redirected", 404: "unknown"}[status]


print(f"{'rule':15} {'strict_slashes':15} {'/x':12} /x/")
for rule in RULES:
    for strict in (True, False):
        print(f"{rule:15} {strict!s:15} {outcome(rule, strict, '/x'):12} {outcome(rule, strict, '/x/')}")

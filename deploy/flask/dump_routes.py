"""Write the routes of a Flask app as JSON, to hold routes.toml against: `python dump_routes.py MODULE:APP`."""

import importlib
import json
import sys

sys.path.insert(0, ".")
module, _, name = sys.argv[1].partition(":")
app = getattr(importlib.import_module(module), name or "app")
json.dump([{"rule": rule.rule, "methods": sorted(rule.methods or ()), "endpoint": rule.endpoint,
            "strict_slashes": rule.strict_slashes} for rule in app.url_map.iter_rules()], sys.stdout, indent=2)

import importlib

from flask import Flask

from dynamic import plain

app = Flask(__name__)
app.register_blueprint(plain)
app.register_blueprint(importlib.import_module("plugin").bp, url_prefix="/plugin")

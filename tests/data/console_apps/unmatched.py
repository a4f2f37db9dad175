"""A rule on a subdomain of an application that matches none."""

from flask import Flask

app = Flask(__name__, static_folder=None)


@app.get("/lost", subdomain="api")
def lost():
    return "lost"


@app.get("/found")
def found():
    return "found"

"""What else a rule can be declared with."""

from flask import Flask
from werkzeug.routing import BaseConverter, Rule

from .auth import require_role


class Slug(BaseConverter):
    regex = "[a-z-]+"


class Hex(BaseConverter):
    """It takes the place of Werkzeug's `int`."""

    regex = "[0-9a-f]+"


app = Flask(__name__)
app.url_map.converters["slug"] = Slug
app.url_map.converters["int"] = Hex


@app.get("/slug/<slug:name>")
@require_role("ops")
def slug(name):
    return "slug"


@app.get("/hex/<int:number>")
@require_role("ops")
def hexadecimal(number):
    return "hex"


@app.get("/paged/", defaults={"page": "first"})
@app.get("/paged/<page>")
@require_role("ops")
def paged(page):
    return "paged"


@app.get("/moved", redirect_to="/paged/")
def moved():
    return "moved"


@app.get("/alias", endpoint="paged_alias", alias=True)
def paged_alias():
    return "alias"


@app.get("/built", build_only=True)
def built():
    return "built"


@app.route("/socket", websocket=True)
@require_role("ops")
def socket():
    return "socket"


@app.route("/both", websocket=True)
@require_role("ops")
def both_socket():
    return "both"


@app.get("/both")
@require_role("ops")
def both_page():
    return "both"


@app.route("/head", methods=["HEAD", "POST"])
@require_role("ops")
def head():
    return "head"


@app.route("/options", methods=["OPTIONS"])
@require_role("ops")
def declared_options():
    return "options"


@app.route("/no-options", methods=["POST"], provide_automatic_options=False)
@require_role("ops")
def no_options():
    return "no options"


# Every method there is.
app.url_map.add(Rule("/every", endpoint="every"))


@app.endpoint("every")
def every():
    return "every"


@app.get("/same/<one>")
@require_role("ops")
def same_one(one):
    return "one"


@app.get("/same/<two>", endpoint="another_two")
@require_role("superadmin")
def same_two(two):
    return "two"

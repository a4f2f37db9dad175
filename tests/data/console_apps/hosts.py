"""Rules on hosts."""

from flask import Flask

from .auth import require_role

app = Flask(__name__, static_folder=None, host_matching=True)


@app.get("/", host="admin.test")
@require_role("superadmin")
def admin():
    return "admin"


@app.get("/", host="shop.test")
def shop():
    return "shop"


@app.get("/nowhere")
def nowhere():
    return "nowhere"

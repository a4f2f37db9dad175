"""Writes session_vectors.jsonl: what itsdangerous, Django and Flask-Session make, and what they say of it.

    python -m venv v && v/bin/pip install itsdangerous==2.2.0 Django==5.2.19 flask-session==0.8.0 cachelib flask
    v/bin/python tests/data/session_vectors.py > tests/data/session_vectors.jsonl

Every verdict is the library's own, also of what was changed afterwards. Time and randomness are fixed.
"""

import base64
import datetime
import hashlib
import json
import time
import uuid

import flask
import itsdangerous
from django.conf import settings
from django.core import signing
from flask_session.base import MsgSpecSerializer

NOW = 1_790_000_000
clock = [NOW]
time.time = lambda: clock[0]

settings.configure(SECRET_KEY="s3cret", SECRET_KEY_FALLBACKS=[])
DIGESTS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha512": hashlib.sha512}
TOKEN = "WvFqNyBPtXkX3GJvbmT2d7nKBqCmZkqYx1nJc4b6G1o"


def emit(**vector):
    print(json.dumps(vector, ensure_ascii=True))


def make(cls, secrets, salt, digest, derivation):
    kwargs = {"key_derivation": derivation, "digest_method": DIGESTS[digest]}
    if cls.endswith("Serializer"):
        return getattr(itsdangerous, cls)(secrets, salt=salt, signer_kwargs=kwargs)
    return getattr(itsdangerous, cls)(secrets, salt=salt, **kwargs)


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def judge(note, cookie, cls, secret, salt, digest, derivation, fallbacks=(), max_age=None, now=NOW):
    """What the library says of `cookie` at `now`."""
    clock[0] = now
    # itsdangerous wants the oldest key first.
    signer = make(cls, [*reversed(fallbacks), secret], salt, digest, derivation)
    read = signer.loads if cls.endswith("Serializer") else signer.unsign
    try:
        token = text(read(cookie, max_age=max_age) if "Time" in cls else read(cookie))
    except (itsdangerous.BadData, UnicodeDecodeError):
        token = None
    clock[0] = NOW
    emit(kind="signed", note=note, cookie=cookie, signer=cls, secret=secret, fallbacks=list(fallbacks), salt=salt,
         digest=digest, derivation=derivation, max_age=max_age, now=now, token=token)


def sign(cls, secret, salt, digest, derivation, token=TOKEN):
    signer = make(cls, [secret], salt, digest, derivation)
    return text(signer.dumps(token) if cls.endswith("Serializer") else signer.sign(token))


CLASSES = ["Signer", "TimestampSigner", "URLSafeSerializer", "URLSafeTimedSerializer"]
for cls in CLASSES:
    for digest in DIGESTS:
        for derivation in ["django-concat", "concat", "hmac", "none"]:
            recipe = ("s3cret", "sessions", digest, derivation)
            judge("as made", sign(cls, *recipe), cls, *recipe)
    recipe = ("s3cret", "sessions", "sha256", "hmac")
    cookie = sign(cls, *recipe)
    judge("another secret", cookie, cls, "another", *recipe[1:])
    judge("another salt", cookie, cls, "s3cret", "others", *recipe[2:])
    judge("another digest", cookie, cls, "s3cret", "sessions", "sha512", "hmac")
    judge("another derivation", cookie, cls, "s3cret", "sessions", "sha256", "concat")
    judge("a fallback", cookie, cls, "newer", *recipe[1:], fallbacks=["new", "s3cret"])
    judge("no fallback of these", cookie, cls, "newer", *recipe[1:], fallbacks=["new"])
    judge("no signature", TOKEN, cls, *recipe)
    judge("empty", "", cls, *recipe)
    judge("only dots", "..", cls, *recipe)
    judge("no value", sign(cls, *recipe).rsplit(".", 1)[1], cls, *recipe)
    judge("an empty token", sign(cls, *recipe, token=""), cls, *recipe)
    judge("a dotted token", sign(cls, *recipe, token="a.b.c.d.e.f"), cls, *recipe)
    judge("a long token", sign(cls, *recipe, token="x" * 500), cls, *recipe)
    first = ("B" if cookie[0] != "B" else "C") + cookie[1:]
    judge("the first character changed", first, cls, *recipe)
    judge("a character behind", cookie + "A", cls, *recipe)
    judge("padding behind", cookie + "=", cls, *recipe)
    judge("rubbish behind", cookie + "!!!!", cls, *recipe)
    last = cookie[:-1] + chr(ord(cookie[-1]) + 1)
    judge("the last character changed", last, cls, *recipe)
    judge("cut", cookie[:-2], cls, *recipe)
    judge("the other alphabet", cookie.replace("-", "+").replace("_", "/"), cls, *recipe)
    for other in CLASSES:
        if other != cls:
            judge(f"of a {other}", sign(other, *recipe), cls, *recipe)
    if "Time" in cls:
        for note, later in [("no time later", 0), ("at its age", 3600), ("past its age", 3601), ("before", -1)]:
            judge(note, cookie, cls, *recipe, max_age=3600, now=NOW + later)
        judge("no age is asked", cookie, cls, *recipe, now=NOW + 10**9)
        judge("from the future, no age is asked", cookie, cls, *recipe, now=NOW - 10**6)
plain = ("s3cret", "sessions", "sha1", "django-concat")
for note, value in [("a number", 5), ("a list", [TOKEN]), ("an object", {"token": TOKEN}), ("null", None)]:
    signer = make("URLSafeSerializer", ["s3cret"], *plain[1:])
    emit(kind="signed", note=f"not text: {note}", cookie=signer.dumps(value), signer="URLSafeSerializer", secret="s3cret",
         fallbacks=[], salt="sessions", digest="sha1", derivation="django-concat", max_age=None, now=NOW, token=None)
# As flask_session.base._sign does it.
flask_session = itsdangerous.Signer("s3cret", salt="flask-session", key_derivation="hmac")
judge("Flask-Session", flask_session.sign(TOKEN).decode(), "Signer", "s3cret", "flask-session", "sha1", "hmac")


def stored(note, fmt, payload, key, secret="s3cret", fallbacks=(), salt=None, admin=None, readable=True):
    emit(kind="payload", note=note, format=fmt, payload=base64.b64encode(payload).decode(), key=key, secret=secret,
         fallbacks=list(fallbacks), salt=salt, admin=admin, readable=readable)


SALT = "django.contrib.sessions.SessionStore"


def django(note, payload, key="_auth_user_id", secret="s3cret", fallbacks=(), salt=SALT):
    """What Django's SessionStore.decode makes of it: nothing, where it cannot be read."""
    try:
        session = signing.loads(payload, key=secret, salt=salt, fallback_keys=list(fallbacks))
        readable = True
    except Exception:
        session, readable = {}, False
    admin = session.get(key) if isinstance(session, dict) else None
    stored(note, "django", payload.encode(), key, secret, fallbacks, salt, as_id(admin), readable)


def as_id(value):
    """The ids that the gate knows: text, and integers that are no booleans."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "" or "\0" in str(value):
        return None
    return str(value)


LOGIN = {"_auth_user_id": "42", "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
         "_auth_user_hash": "9" * 64}


def dumps(session, **kwargs):
    return signing.dumps(session, **{"salt": SALT, "compress": True, **kwargs})


data = dumps(LOGIN)
django("as made", data)
django("nobody", dumps({}))
django("a UUID", dumps({**LOGIN, "_auth_user_id": str(uuid.UUID(int=7))}))
django("a number", dumps({"_auth_user_id": 7}))
django("a truth", dumps({"_auth_user_id": True}))
django("an empty id", dumps({"_auth_user_id": ""}))
django("U+0000", dumps({"_auth_user_id": "4\0002"}))
django("not ASCII", dumps({"_auth_user_id": "jürgen", "name": "\U0001f600"}))
django("a lone surrogate elsewhere", dumps({"_auth_user_id": "42", "x": "\ud800"}))
django("long and compressed", dumps({**LOGIN, "cart": ["an item of the cart"] * 500}))
django("long and not compressed", dumps({**LOGIN, "cart": ["an item of the cart"] * 50}, compress=False))
django("not an object", dumps(["42"]))
django("tags are keys", dumps({" t": ["42"]}))
django("deep", dumps({**LOGIN, "x": json.loads("[" * 20 + "]" * 20)}))
django("another key", data, secret="another")
django("a fallback", data, secret="newer", fallbacks=["new", "s3cret"])
django("another salt", data, salt="django.contrib.sessions.CustomStore")
django("the salt of another store", dumps(LOGIN, salt="shop.sessions.CustomStore"), salt="shop.sessions.CustomStore")
django("the first character changed", ("B" if data[0] != "B" else "C") + data[1:])
django("padding behind", data + "=")
django("the last character changed", data[:-1] + chr(ord(data[-1]) + 1))
django("cut", data[:-1])
django("no signature", data.rsplit(":", 1)[0])
django("empty", "")
django("no timestamp", signing.Signer(key="s3cret", salt=SALT).sign_object(LOGIN))
django("itsdangerous' separator", data.replace(":", "."))
django("a pickle of before Django 1.6", base64.b64encode(b"5f0:(dp1\nS'_auth_user_id'\np2\nI42\ns.").decode())
django("a zlib bomb", dumps({**LOGIN, "x": "0" * 60_000}))

app = flask.Flask("vectors")
app.logger.disabled = True
for fmt in ["msgpack", "json"]:
    serializer = MsgSpecSerializer(app, fmt)

    def kept(note, session, key="_user_id"):
        admin = session.get(key) if isinstance(session, dict) else None
        stored(note, fmt, serializer.encoder.encode(session), key, admin=as_id(admin))

    login = {"_permanent": True, "_user_id": "42", "_fresh": True, "_id": "f" * 128, "csrf_token": "0" * 40}
    kept("as Flask-Login writes it", login)
    kept("nobody", {"_permanent": True})
    kept("a number", {"admin_id": 7}, "admin_id")
    kept("a large number", {"admin_id": 2**63 + 1}, "admin_id")
    kept("a negative number", {"admin_id": -70_000}, "admin_id")
    kept("a truth", {"admin_id": True}, "admin_id")
    kept("a UUID", {"_user_id": "00000000-0000-0000-0000-000000000007", "at": "x" * 300}, "_user_id")
    kept("a time, bytes and lists beside it", {
        "at": datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc), "raw": b"\x00\xff",
        "many": list(range(-200, 200, 7)), "deep": {"a": {"b": [1.5, None, False]}}, "_user_id": "42"})
    kept("many keys", {**{f"key-{n}": n for n in range(40)}, "_user_id": "42"})
    kept("not ASCII", {"_user_id": "jürgen \U0001f600"})
    kept("not an object", ["42"])

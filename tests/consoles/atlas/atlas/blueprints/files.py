"""Delivery notes and pictures, by a path of the shop's own."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, g, request
from sqlalchemy import delete as delete_rows

from atlas import audit, db
from atlas.auth import require_role
from atlas.models import StoredFile

blueprint = Blueprint("files", __name__, url_prefix="/files")


@blueprint.get("/<path:name>")
@require_role("superuser", "manager", "agent", "viewer")
def download(name: str) -> Any:
    file = db.session().get(StoredFile, name)
    if file is None:
        abort(404)
    return Response(file.content, mimetype="application/octet-stream")


@blueprint.put("/<path:name>")
@require_role("superuser", "manager", "agent")
def upload(name: str) -> Any:
    db.session().merge(StoredFile(name=name, content=request.get_data(), uploaded_by=g.admin.id))
    audit.record("file_uploaded", name=name)
    db.session().commit()
    return {"name": name}, 201


@blueprint.delete("/<path:name>")
@require_role("superuser", "manager")
def delete(name: str) -> Any:
    db.session().execute(delete_rows(StoredFile).where(StoredFile.name == name))
    audit.record("file_deleted", name=name)
    db.session().commit()
    return "", 204

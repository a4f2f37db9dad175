"""Console's decorator: a request with one of the roles in `X-Roles` passes."""

import functools

from flask import abort, request


def require_role(*roles):
    def decorate(view):
        @functools.wraps(view)
        def guarded(*args, **kwargs):
            if not set(roles) & set(request.headers.get("X-Roles", "").split(",")):
                abort(403)
            return view(*args, **kwargs)

        return guarded

    return decorate

"""Settings, all from the environment.

    DATABASE_URL          postgres://...; the tables are in the schema `app`
    SECRET_KEY            signs CSRF tokens and the login form
    ATLAS_SECURE_COOKIES  `1` where the shop is served over https
    ATLAS_RELEASE         `next` runs the code that goes with migration 0005; tried in staging
    USE_GATE              `1`: console-gate is in front, see `atlas.auth`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping


@dataclass(frozen=True)
class Config:
    DATABASE_URL: str
    SECRET_KEY: str
    SECURE_COOKIES: bool
    MAX_CONTENT_LENGTH: int = 4 * 1024 * 1024

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Config:
        return cls(
            DATABASE_URL=driver_url(environment["DATABASE_URL"]),
            SECRET_KEY=environment["SECRET_KEY"],
            SECURE_COOKIES=environment.get("ATLAS_SECURE_COOKIES") == "1",
        )


def driver_url(url: str) -> str:
    """The hosting platform says `postgres://`; SQLAlchemy wants the driver's name."""
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url

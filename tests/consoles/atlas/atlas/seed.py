"""Puts the tables back to the people of `people.json` and a small shop. For tests and demonstrations.

The people keep their rows, so that what hangs on them elsewhere is not lost.
"""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, delete, select, text
from sqlalchemy.orm import Session
from werkzeug.security import generate_password_hash

from atlas.config import driver_url
from atlas.models import ApiToken, Customer, LoginSession, Order, OrderLine, Role, StoredFile, User
from atlas.sessions import now, sha256

PEOPLE = Path(__file__).resolve().parents[1] / "people.json"
CUSTOMERS = [uuid.UUID(f"c0000000-0000-4000-8000-00000000000{digit}") for digit in (1, 2, 3)]
EMPTIED = "audit_log, customers, notes, orders, order_lines, files"


def seed(database_url: str, people_file: Path = PEOPLE) -> None:
    people = json.loads(people_file.read_text(encoding="utf-8"))
    engine = create_engine(driver_url(database_url))
    with Session(engine) as session:
        session.execute(text(f"TRUNCATE {', '.join('app.' + name for name in EMPTIED.split(', '))} RESTART IDENTITY"))
        roles = {role.name: role for role in session.scalars(select(Role))}
        everybody = people["people"] + people["targets"]
        session.execute(delete(LoginSession))
        session.execute(delete(ApiToken))
        session.execute(delete(User).where(User.id.not_in([person["id"] for person in everybody if "id" in person])))
        for person in everybody:
            add_person(session, roles, person)
        add_shop(session)
        session.commit()
    engine.dispose()


def add_person(session: Session, roles: dict[str, Role], person: dict[str, Any]) -> None:
    if "token_name" in person:
        session.add(ApiToken(name=person["token_name"], token_sha256=sha256(person["bearer"]),
                             revoked_at=now() if person.get("revoked") else None))
    if "email" not in person:
        return
    # Few rounds: these are not secrets, and a test seeds often.
    user = User(id=uuid.UUID(person["id"]), email=person["email"], full_name=person["full_name"],
                password_hash=generate_password_hash(person["password"], "pbkdf2:sha256:1000"),
                totp_secret=person["totp_secret"], is_active=not person.get("disabled", False),
                roles=[roles[name] for name in person["roles"]])
    user = session.merge(user)
    if "session_token" in person:
        ends = timedelta(hours=-24 if person.get("session_expired") else 12)
        session.add(LoginSession(token_sha256=sha256(person["session_token"]), user=user, expires_at=now() + ends))


def add_shop(session: Session) -> None:
    for number, customer_id in enumerate(CUSTOMERS, 1):
        session.add(Customer(id=customer_id, name=f"Customer {number}", email=f"customer{number}@example.org"))
    session.flush()
    for number in range(1001, 1006):
        lines = [OrderLine(line=1, article="Chair", cents=4900), OrderLine(line=2, article="Table", cents=19900)]
        session.add(Order(number=number, customer_id=CUSTOMERS[number % 3], total_cents=24800, lines=lines))
    session.flush()
    session.execute(text("ALTER TABLE app.orders ALTER COLUMN number RESTART WITH 2001"))
    session.add(StoredFile(name="notes/2026/delivery.txt", content=b"Second floor, no lift.\n"))

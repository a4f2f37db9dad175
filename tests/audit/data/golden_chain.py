"""Writes golden_chain.json, or with --check holds it to be what this program would write.

A second implementation of the chain's canonical form and macs, from their description alone and with nothing but the
standard library, so that neither can change without somebody noticing.
"""

import hashlib
import hmac
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
PERSONAL = ("actor_id", "session_id", "client_address", "path")
KEYS = {"g1": bytes(range(32)), "g2": bytes(range(100, 140))}


def canonical(value):
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(canonical(key) + ":" + canonical(value[key]) for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    assert not isinstance(value, float)
    # ensure_ascii=False gives the escapes of RFC 8785 section 3.2.2.2 but for U+007F, which it leaves alone as well.
    return json.dumps(value, ensure_ascii=False)


def seal(chain, sequence, previous, key_id, salt, record):
    personal = {name: record[name] for name in PERSONAL if record[name] is not None}
    digest = hashlib.sha256(salt + canonical(personal).encode()).hexdigest()
    rest = {name: value for name, value in record.items() if name not in PERSONAL and value is not None}
    rest["personal_digest"] = digest
    rest["v"] = 1
    text = canonical(rest)
    content = hashlib.sha256(text.encode()).digest()
    name = chain.encode()
    message = b"console-gate/audit/row/v1\0" + len(name).to_bytes(8, "big") + name
    message += sequence.to_bytes(8, "big") + previous + content
    mac = hmac.new(KEYS[key_id], message, hashlib.sha256).digest()
    link = {
        "chain_id": chain,
        "sequence": sequence,
        "key_id": key_id,
        "personal_salt": salt.hex(),
        "personal_digest": digest,
        "content_hash": content.hex(),
        "mac": mac.hex(),
    }
    return mac, {"canonical": text, "canonical_personal": canonical(personal), "record": record, "link": link}


def record(number, **columns):
    names = "event_type actor_kind actor_id session_id request_id client_address method path route reason required held"
    blank = dict.fromkeys(names.split() + ["mapping_sha256", "epoch", "detail"])
    blank["id"] = f"01980000-0000-7000-8000-{number:012x}"
    blank["occurred_at"] = f"2026-11-21T04:41:4{number}.{number:06d}Z"
    return {**blank, **columns}


RECORDS = [
    record(1, event_type="chain_started", actor_kind="gate", detail={"heads": []}),
    record(
        2,
        event_type="access_denied",
        actor_kind="admin",
        actor_id="admin-7",
        session_id="5e55",
        request_id="0198-r",
        client_address="2001:db8::/48",
        method="POST",
        path="/console/customers/\u00e9\U0001f602/%2e",
        route="POST /console/customers/<id>",
        reason="role_missing",
        required=["console-manager"],
        held={"roles": [], "legacy": ["ops"], "groups": [], "permissions": []},
        mapping_sha256="ab" * 32,
        epoch=9223372036854775807,
    ),
    record(
        3,
        event_type="odd",
        actor_kind="operator",
        actor_id="",
        path="\u0001\b\t\n\u000b\f\r\u001f\"\\/\u007f\u2028",
        detail={"\ufb33": 1, "\U0001f600": 2, "\r": [None, True, False], "b": -9007199254740993, "": {"z": "", "a": {}}},
        required=18446744073709551615,
        epoch=-1,
    ),
    record(4, event_type="token_revoked", actor_kind="operator", actor_id="somebody", detail={"name": "0.5"}),
]


def checkpoint(chain, sequence, mac, at, key_id):
    rest = {"v": 1, "chain": chain, "sequence": sequence, "mac": mac.hex(), "at": at, "key": key_id}
    message = b"console-gate/audit/checkpoint/v1\0" + canonical(rest).encode()
    return canonical({**rest, "signature": hmac.new(KEYS[key_id], message, hashlib.sha256).hexdigest()})


def main():
    previous, rows, chain = bytes(32), [], "0198f00d-\u00fc"
    for sequence, one in enumerate(RECORDS, start=1):
        key_id = "g1" if sequence < 3 else "g2"
        salt = hashlib.sha256(bytes([sequence])).digest()[:16]
        previous, row = seal(chain, sequence, previous, key_id, salt, one)
        rows.append(row)
    golden = {
        "keys": {key_id: key.hex() for key_id, key in KEYS.items()},
        "rows": rows,
        "checkpoint": checkpoint(chain, 4, previous, "2026-11-21T04:42:00.000000Z", "g2"),
    }
    text = json.dumps(golden, indent=1, ensure_ascii=True) + "\n"
    file = HERE / "golden_chain.json"
    if "--check" in sys.argv:
        sys.exit(0 if file.read_text() == text else "golden_chain.json is not what golden_chain.py writes")
    file.write_text(text)


main()

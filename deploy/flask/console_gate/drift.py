"""Disagreements of Console's own checks with the gate, in shadow mode: logged, and posted where an address is set.

A request adds to a queue and does nothing else: one thread of the process sends, in batches. What does not fit is
counted and dropped, and nothing that goes wrong here reaches a request.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import urllib.request
from dataclasses import asdict, dataclass, field

log = logging.getLogger("console_gate")
QUEUE = 1000
BATCH = 100
TIMEOUT_SECONDS = 5
LOGGED = 1000


@dataclass(frozen=True)
class Disagreement:
    """The gate let a request in, and Console's own check did not."""

    method: str
    route: str
    subject: str
    kind: str
    gate: str
    cluster: str
    mapping: str
    check: str
    """The view whose check stopped the request."""
    request_id: str = field(default="", compare=False)


class Reporter:
    """Takes disagreements from requests. `address`: where a batch is posted as JSON, with `token` as bearer."""

    def __init__(self, address: str = "", token: str = "") -> None:
        self._address, self._token = address, token
        self._lock = threading.Lock()
        self._logged: set[tuple[str, str]] = set()
        self._queue: queue.Queue[Disagreement] = queue.Queue(QUEUE)
        self._sender: tuple[int, threading.Thread] | None = None
        self.dropped = 0

    def report(self, disagreement: Disagreement) -> None:
        """Never blocks for long and never raises."""
        try:
            self._log_once(disagreement)
            if self._address:
                self._enqueue(disagreement)
        except Exception:
            log.exception("a disagreement with the gate could not be reported")

    def _log_once(self, disagreement: Disagreement) -> None:
        key = (disagreement.route, disagreement.subject)
        with self._lock:
            if key in self._logged or len(self._logged) >= LOGGED:
                return
            self._logged.add(key)
        log.warning(
            "the gate (%s) let %r in at `%s`, and Console's own check at `%s` did not: compare the roles of both",
            disagreement.gate, disagreement.subject, disagreement.route, disagreement.check)

    def _enqueue(self, disagreement: Disagreement) -> None:
        with self._lock:
            # A thread does not survive the fork of a preloading server.
            if self._sender is None or self._sender[0] != os.getpid() or not self._sender[1].is_alive():
                thread = threading.Thread(target=self._send_for_ever, name="console-gate-drift", daemon=True)
                self._sender = (os.getpid(), thread)
                thread.start()
        try:
            self._queue.put_nowait(disagreement)
        except queue.Full:
            self.dropped += 1

    def _send_for_ever(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            try:
                self.send(batch)
            except Exception as error:
                self.dropped += len(batch)
                log.error("%s disagreements could not be sent to the gate, %s lost in all: %r",
                          len(batch), self.dropped, error)

    def send(self, batch: list[Disagreement]) -> None:
        """One POST; raises `OSError` if it fails."""
        body = json.dumps({"disagreements": [asdict(each) for each in batch]}).encode()
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._address, body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
            pass

"""Takes each guard out, one at a time, and lists those whose absence the model of the rule does not notice: `make prove-guards`.

    python3 tests/prove/guards.py [--attempts 2500] [NAME...]

Each mutant weakens one place of the code that judges changes of access (docs/guards.md). It is built in a worktree of the last
commit, and `tests/models/guards` runs against it on SQLite until the model and the gate differ. A mutant that survives is a
guard that no attempt of the model needs.

Exit status 0: each mutant is found. 1: some survive, and are listed. 2: a mutant no longer fits the code, or the model differs
from the code as it is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TEST = "guards::nobody_ends_with_more_than_they_may_on_sqlite"
AUTHORITY = "crates/grants/src/authority.rs"
HOLDINGS = "crates/grants/src/authority/holdings.rs"
REQUESTS = "crates/grants/src/requests.rs"
GUARD = "src/rbac_api/guard.rs"


class Mutant(NamedTuple):
    name: str
    # What an insider could do then.
    attack: str
    path: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "membership-is-no-right",
        "join a group that approves and brings no role",
        AUTHORITY,
        "        rights.insert(Right::Group(name.into()));\n        rights\n",
        "        rights\n",
    ),
    Mutant(
        "one-gives-a-power",
        "make a colleague an approver without a second person",
        AUTHORITY,
        "self.approvers.contains(name) || self.eligible.contains(name) || self.is_grantor(name)",
        "name.is_empty()",
    ),
    Mutant(
        "one-gives-the-write-role",
        "give `grant_any` or the API's write role without a second person",
        AUTHORITY,
        "self.grant_any.as_ref() == Some(right) || self.write.contains(right)",
        "false",
    ),
    Mutant(
        "own-gains-unjudged",
        "give oneself by delegation what one does not hold",
        AUTHORITY,
        "    gains_nothing(author, weighed, powers)?;\n",
        "",
    ),
    Mutant(
        "roles-of-a-group-freely-removed",
        "empty a group of its roles",
        AUTHORITY,
        "RbacChange::RevokeRole { group, .. } => Some(group.as_str().into()),",
        "RbacChange::RevokeRole { .. } => None,",
    ),
    Mutant(
        "last-member-freely-removed",
        "empty a group whose membership carries a power",
        AUTHORITY,
        "|| is_last && powers.names(&name)",
        "|| is_last && name.is_empty()",
    ),
    Mutant(
        "timed-holdings-give",
        "make permanent what is held for a while",
        HOLDINGS,
        "self.plainly_until(right) == Some(Until::Never)",
        "self.plainly_until(right).is_some()",
    ),
    Mutant(
        "ends-are-ignored",
        "extend one's own holding",
        HOLDINGS,
        "until(&Way::Plain).max(until(&gain.way)) >= Some(gain.until)",
        "until(&Way::Plain).max(until(&gain.way)).is_some()",
    ),
    Mutant(
        "sessions-cover",
        "keep what a break-glass session brings",
        HOLDINGS,
        "until(&Way::Plain).max(until(&gain.way)) >=",
        "until(&Way::Plain).max(until(&Way::BreakGlass)).max(until(&gain.way)) >=",
    ),
    Mutant(
        "startable-sessions-do-not-count",
        "edit what break-glass brings, then break glass",
        HOLDINGS,
        "Way::Plain => Some(Way::BreakGlass),",
        "Way::Plain => None,",
    ),
    Mutant(
        "tickets-do-not-count",
        "edit the role of one's own ticket",
        HOLDINGS,
        "let is_live = |grant: &&TicketGrant| grant.ends.is_none_or(|ends| ends > grants.now);",
        "let is_live = |grant: &&TicketGrant| grant.admin.is_empty();",
    ),
    Mutant(
        "later-memberships-do-not-count",
        "put a role into the group that one joins tomorrow",
        HOLDINGS,
        "let (starts, ends) = (grant.starts?, grant.ends.filter(|ends| *ends > self.now)?);",
        "let (starts, ends) = (grant.starts.filter(|at| *at <= self.now)?, grant.ends.filter(|ends| *ends > self.now)?);",
    ),
    Mutant(
        "own-tokens-do-not-count",
        "edit the group of one's own machine token",
        HOLDINGS,
        "for machine in grants.machines.iter().filter(|machine| machine.created_by == id) {",
        "for machine in grants.machines.iter().filter(|machine| machine.created_by == id && id.is_empty()) {",
    ),
    Mutant(
        "machines-act-for-themselves",
        "let one's own machine token give one a right",
        AUTHORITY,
        "let is_it = |machine: &&Machine| author.0 == CallerKind::Machine && machine.id == author.1;",
        "let is_it = |machine: &&Machine| author.0 == CallerKind::Machine && machine.id.is_empty();",
    ),
    Mutant(
        "cohorts-are-left-freely",
        "end the membership that brings the stricter gate",
        HOLDINGS,
        "stays(cohort, way) < Some(**until)",
        "stays(cohort, way) < Some(**until) && cohort.is_empty()",
    ),
    Mutant(
        "others-leave-cohorts-freely",
        "take a colleague out of a cohort",
        AUTHORITY,
        "powers.cohorts.contains(&name) || is_last",
        "is_last",
    ),
    Mutant(
        "momentary-grant-any",
        "use `grant_any` that is held for a moment",
        AUTHORITY,
        "powers.grant_any.as_ref().is_some_and(|right| own.is_lasting(right))",
        "powers.grant_any.as_ref().is_some_and(|right| own.plainly_until(right).is_some())",
    ),
    Mutant(
        "approvers-may-gain",
        "approve what gives oneself a right",
        REQUESTS,
        "            .map_err(RequestError::Refused)?;\n        let held",
        "            .map_err(RequestError::Refused).ok();\n        let held",
    ),
    Mutant(
        "approvers-need-not-last",
        "approve for good while approving for an hour",
        REQUESTS,
        "match longest >= Some(self.lasts_until()) {",
        "match longest.is_some() {",
    ),
    Mutant(
        "approvals-cover-anything",
        "change what is approved after it was looked at",
        REQUESTS,
        "if judged.impact_sha256 != impact_sha256 {",
        "if judged.impact_sha256.is_empty() {",
    ),
    Mutant(
        "approvals-cover-routes-alone",
        "put a role that no row asks for into the group that is being asked for",
        AUTHORITY,
        "concerned(weighed).into_iter().filter_map(of).collect()",
        "concerned(weighed).into_iter().filter_map(of).take(0).collect()",
    ),
    Mutant(
        "later-sessions-do-not-count",
        "edit what break-glass brings before one may start it",
        HOLDINGS,
        "Way::Later => Some(Way::Later),",
        "Way::Later => None,",
    ),
    Mutant(
        "askers-are-not-judged-again",
        "let an edit be approved that its asker may no longer make",
        GUARD,
        "if !edit.changes().all(|change| lets_in(mapping, person, catalog, change)) {",
        "if !edit.changes().all(|change| lets_in(mapping, person, catalog, change)) && catalog.groups.is_empty() {",
    ),
    Mutant(
        "askers-keep-the-rule",
        "let an edit be approved whose asker lost the right to give it",
        GUARD,
        "verdict.map(drop).map_err(|refusal| refusal.to_string())",
        "verdict.map(drop).or_else(|_| Ok(()))",
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="these mutants only")
    parser.add_argument("--attempts", type=int, default=2_500)
    options = parser.parse_args()
    wanted = [mutant for mutant in MUTANTS if not options.names or mutant.name in options.names]
    tree = ROOT / "target" / "mutants"
    # What a run left that was stopped.
    shutil.rmtree(tree, ignore_errors=True)
    git("worktree", "prune", at=ROOT)
    git("worktree", "add", "--force", "--detach", str(tree), "HEAD", at=ROOT)
    try:
        return run(wanted, tree, options.attempts)
    finally:
        git("worktree", "remove", "--force", str(tree), at=ROOT)


def run(mutants: list[Mutant], tree: Path, attempts: int) -> int:
    difference = difference_of(tree, attempts)
    if difference:
        print(f"the model and the gate differ before anything is taken out: {difference}", file=sys.stderr)
        return 2
    survivors = []
    for mutant in mutants:
        path = tree / mutant.path
        text = path.read_text()
        if text.count(mutant.old) != 1:
            print(f"{mutant.name}: {mutant.path} has changed; write the mutant anew", file=sys.stderr)
            return 2
        path.write_text(text.replace(mutant.old, mutant.new))
        began = time.monotonic()
        found = difference_of(tree, attempts)
        path.write_text(text)
        seconds = f"{time.monotonic() - began:.0f} s"
        print(f"{'found' if found else 'SURVIVES':9} {mutant.name}: {found or mutant.attack} ({seconds})", flush=True)
        if not found:
            survivors.append(mutant.name)
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants found within {attempts} attempts")
    return 1 if survivors else 0


def difference_of(tree: Path, attempts: int) -> str | None:
    """The difference between the model and the mutant in a line."""
    variables = {
        **os.environ,
        "GATE_MODELS": str(attempts),
        "GATE_SEED": "1",
        "CARGO_TARGET_DIR": str(ROOT / "target"),
        "CONSOLE_PYTHON": str(ROOT / ".venv" / "bin" / "python"),
    }
    command = ["cargo", "test", "--locked", "--test", "models", "--", "--exact", TEST, "--nocapture"]
    done = subprocess.run(command, cwd=tree, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 0:
        return None
    if "panicked" not in done.stdout:
        sys.exit(done.stdout)
    lines = done.stdout.splitlines()
    at = next((number for number, line in enumerate(lines) if "panicked at" in line), 0)
    return " ".join(line.strip() for line in lines[at + 1 : at + 3])[:160]


def git(*arguments: str, at: Path) -> None:
    subprocess.run(["git", *arguments], cwd=at, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env bash
# A tour of the demo: somebody is denied, asks for access, is approved, is in, and is out again; then the same for one
# ticket. It prints each command before it runs it, and fails where an answer is not the expected one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./env

step() { printf '\n# %s\n' "$*"; }
# Prints a command as it can be pasted, and runs it.
show() {
    local part line='$'
    for part in "$@"; do
        case $part in
            "X-FreeScout-API-Key: "*) part='"X-FreeScout-API-Key: $FREESCOUT_KEY"' ;;
            *[!A-Za-z0-9_./:=@,-]*) part="'$part'" ;;
        esac
        line="$line $part"
    done
    printf '%s\n' "$line" >&2
    "$@"
}
# The value of a member of a JSON object.
member() { grep -o "\"$1\": *\"[^\"]*\"" | head -1 | cut -d'"' -f4; }

# visit WHO PATH STATUS: asks as somebody, and compares the status.
visit() {
    local status
    status=$(show curl -s -o answer -w '%{http_code}' -b "$1" "$GATE$2")
    printf '%s\n' "$status"
    [ "$status" = "$3" ] || { printf 'expected %s:\n' "$3"; cat answer; exit 1; }
}
# api WHO METHOD PATH [JSON]: asks the RBAC API, as a page of this site would.
api() {
    show curl -s --fail-with-body -X "$2" -b "$1" -H 'Sec-Fetch-Site: same-origin' ${4:+-H 'Content-Type: application/json' -d "$4"} \
        "$GATE/api/rbac$3"
}

# Whatever was tried before: the tour is about V2.
console-gate flag rbac-v2 on > flag.txt

for who in support platform; do
    group=raxx-support-team
    [ $who = support ] || group=raxx-platform-admins
    curl -s -o /dev/null -c $who -d as=in-$group "$GATE/auth/login"
done

step 'The flags are for raxx-devops-team. Somebody of the support team is denied; the denial is an audit row.'
visit support /console/flags 403

step 'They ask for two hours. The gate finds the smallest group that opens the route.'
request=$(api support POST /requests '{"route": "GET /console/flags", "for": "2h", "reason": "flags of the release"}')
printf '%s\n' "$request"
id=$(printf '%s' "$request" | member id)

step 'Nobody approves for themselves.'
if api support POST "/requests/$id/approve" '{"impact_sha256": "'"$(printf %064d 0)"'"}'; then exit 1; fi
printf '\n'

step 'An approver looks at exactly what it would open, and approves that: the digest binds the approval to it.'
api platform GET "/requests/$id" > impact.json
grep -o '"route": *"[A-Z]* [^"]*"' impact.json | sort -u | head -8
digest=$(member impact_sha256 < impact.json)
approved=$(api platform POST "/requests/$id/approve" '{"impact_sha256": "'"$digest"'"}')
printf '%s\n' "$approved"

step 'They are in, at once and for two hours.'
visit support /console/flags 200
show console-gate grant list --of in-raxx-support-team

step 'The grant ends before its time. When this returns, no gate acts on it any more.'
api platform DELETE "/grants/$(printf '%s' "$approved" | member grant)?reason=done"
visit support /console/flags 403

step "Customer 7 has a ticket, 42. The customer's data is for whom the ticket's grant is, as long as the ticket is open."
visit support '/api/customer-audit/7?ticket_id=42' 403
show console-gate ticket grant in-raxx-support-team raptor-audit-support --ticket 42 --customer 7 --until 8h --reason refund
visit support '/api/customer-audit/7?ticket_id=42' 200

step 'It is no access to another customer, nor for another ticket.'
visit support '/api/customer-audit/8?ticket_id=42' 403
visit support '/api/customer-audit/7?ticket_id=43' 403

step 'The ticket is closed in FreeScout: out, whether or not its webhook has arrived. Opened again, it brings nothing back.'
ticket() {
    show curl -s --fail-with-body -X PUT -H "X-FreeScout-API-Key: $FREESCOUT_KEY" -H 'Content-Type: application/json' \
        -d '{"byUser": 1, "status": "'"$1"'"}' "$FREESCOUT/api/conversations/42"
}
ticket closed
visit support '/api/customer-audit/7?ticket_id=42' 403
ticket active
visit support '/api/customer-audit/7?ticket_id=42' 403

step 'All of it is in the audit, and nobody has changed that since.'
show console-gate audit verify
printf '\nThe tour is over: every answer was as expected.\n'

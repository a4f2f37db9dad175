#!/bin/sh
# The V2 roles and groups of Atlas, for `role = "..."` in routes.toml, and who is in them. Run it once, after
# `console-gate migrate`; GATE is the command with its settings, such as `console-gate --config gate.toml`.
set -eu
: "${GATE:=console-gate --config gate.toml}"

$GATE role create atlas-staff
$GATE role create atlas-sales
$GATE role create atlas-reports
$GATE role create atlas-packing
$GATE role create atlas-management
$GATE role create atlas-owner
$GATE role inherit atlas-sales atlas-staff
$GATE role inherit atlas-management atlas-sales
$GATE role inherit atlas-management atlas-reports
$GATE role inherit atlas-management atlas-packing
$GATE role inherit atlas-owner atlas-management

$GATE group create owners --role atlas-owner
$GATE group create managers --role atlas-management
$GATE group create agents --role atlas-sales
$GATE group create viewers --role atlas-staff --role atlas-reports
$GATE group create warehouse --role atlas-staff --role atlas-packing

$GATE group add owners 5b1f0a52-5d6e-4a0b-9a1c-000000000001
$GATE group add managers 5b1f0a52-5d6e-4a0b-9a1c-000000000002
$GATE group add agents 5b1f0a52-5d6e-4a0b-9a1c-000000000003
$GATE group add viewers 5b1f0a52-5d6e-4a0b-9a1c-000000000004
$GATE group add agents 5b1f0a52-5d6e-4a0b-9a1c-000000000006
$GATE group add viewers 5b1f0a52-5d6e-4a0b-9a1c-000000000006
$GATE group add managers 5b1f0a52-5d6e-4a0b-9a1c-000000000007
$GATE group add managers 5b1f0a52-5d6e-4a0b-9a1c-000000000008
# The warehouse's own token: the SHA-256 of what it sends, so nobody needs the token itself. The gate knows the token from
# now on, so it asks for a legacy role where the legacy gate decides.
$GATE token enroll --sha256 "$(printf %s atl_3TqPz0m9YbVnE5cXw7Jd2LkRf8GhSaUo | sha256sum | cut -c1-64)" \
    --name warehouse --group warehouse --legacy-role manager

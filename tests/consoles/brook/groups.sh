#!/bin/sh
# The V2 roles and groups of Brook, for `role = "..."` in routes.toml, and who is in them. Run it once, after
# `console-gate migrate`; GATE is the command with its settings, such as `console-gate --config gate.toml`.
set -eu
: "${GATE:=console-gate --config gate.toml}"

$GATE role create brook-look
$GATE role create brook-work
$GATE role create brook-lead
$GATE role inherit brook-work brook-look
$GATE role inherit brook-lead brook-work

$GATE group create leads --role brook-lead
$GATE group create workers --role brook-work
$GATE group create lookers --role brook-look

$GATE group add leads 1
$GATE group add workers 2
$GATE group add workers 3
$GATE group add lookers 4
$GATE group add lookers 7

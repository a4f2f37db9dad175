#!/bin/sh
# The V2 roles and groups of Creek, with its permissions, and who is in them. Run it once, after `console-gate migrate`.
set -eu
: "${GATE:=console-gate --config gate.toml}"

$GATE role create creek-reader
$GATE role permit creek-reader books:read --create
$GATE role create creek-writer --inherits creek-reader
$GATE role permit creek-writer books:write --create
$GATE role create creek-lender
$GATE role permit creek-lender loans:write --create
$GATE role create creek-remover
$GATE role permit creek-remover books:delete --create
$GATE role permit creek-remover reports:read --create

$GATE group create admins --role creek-writer --role creek-lender --role creek-remover
$GATE group create librarians --role creek-writer --role creek-lender
$GATE group create editors --role creek-writer
$GATE group create readers --role creek-reader

$GATE group add admins 1
$GATE group add librarians 2
$GATE group add readers 3

# The tokens of Creek's programs, by their SHA-256.
enroll() {
    $GATE token enroll --sha256 "$(printf %s "$2" | sha256sum | cut -c1-64)" --name "$1" --group "$3" --legacy-role "$4"
}
enroll kiosk creek_kiosk_4TqPz0m9YbVnE5cXw7Jd2Lk readers reader
enroll desk creek_desk_8RfGhSaUo1TqPz0m9YbVnE5c librarians librarian

//! What the document has of each endpoint: its summary, its query, its bodies and its refusals.

use super::super::routes::Endpoint;

/// What is said of an endpoint.
pub(super) struct Described {
    pub(super) summary: &'static str,
    /// Names and what they mean.
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) body: Option<&'static str>,
    /// The statuses of success, each with the schema of its body.
    pub(super) success: &'static [(u16, Option<&'static str>)],
    pub(super) refusals: &'static [u16],
}

const PAGE: [(&str, &str); 2] =
    [("limit", "Rows of a page, 1 to 500"), ("cursor", "`next` of the page before")];
const FROM: (&str, &str) = ("from", "A day, or an RFC 3339 time");
const TO: (&str, &str) = ("to", "The same; no part of the period");
const TIMELINE: [(&str, &str); 12] = [
    ("by", "Who did it"),
    ("user", "The admin concerned"),
    ("group", "A group's name"),
    ("role", "A role's name"),
    ("ticket", "A ticket's number"),
    ("customer", "A customer's number"),
    ("kind", "One or more, with commas: `grant,revoke`"),
    FROM,
    TO,
    ("format", "`csv` or `jsonl`: every event of the filter, 10,000 at most, as a file"),
    PAGE[0],
    PAGE[1],
];
const AUDIT: [(&str, &str); 9] = [
    ("kind", "`access_denied`, ..."),
    ("by", "Who did it"),
    ("user", "The admin concerned"),
    ("route", "The row of the mapping, as written there"),
    ("request", "A request ID"),
    FROM,
    TO,
    PAGE[0],
    PAGE[1],
];
const READ: &[u16] = &[400, 401, 403, 404, 503];
const EDIT: &[u16] = &[400, 401, 403, 404, 409, 412, 415, 422, 428, 503];
const CHANGE: &[u16] = &[400, 401, 403, 404, 409, 412, 415, 422, 503];
const ASK: &[u16] = &[400, 401, 403, 404, 409, 412, 415, 422, 429, 503];
const DRY_RUN: (&str, &str) = ("dry_run", "`true`: answer what would change, and change nothing");
const EXPECT: (&str, &str) =
    ("expect", "`preview_sha256` of a dry run: 412 where the change does something else now");
const REASON: (&str, &str) = ("reason", "Why, for the audit");

pub(super) fn described(endpoint: Endpoint) -> Described {
    let read = |summary, query, schema: &'static [(u16, Option<&'static str>)]| Described {
        summary,
        query,
        body: None,
        success: schema,
        refusals: READ,
    };
    let edit = |summary, success: &'static [(u16, Option<&'static str>)]| Described {
        summary,
        query: &[DRY_RUN, EXPECT, REASON],
        body: Some("Edit"),
        success,
        refusals: EDIT,
    };
    match endpoint {
        Endpoint::OpenApi => read("This document", &[], &[(200, Some("Document"))]),
        Endpoint::Me => read("Who asks, what it holds and why", &[], &[(200, Some("Me"))]),
        Endpoint::Check => read(
            "Whether somebody holds a permission",
            &[
                ("permission", "Its name"),
                ("user", "The id of another admin, for those who may ask"),
                ("ticket", "The ticket that the request in question names, with `customer`"),
                ("customer", "The customer that it names"),
            ],
            &[(200, Some("Check"))],
        ),
        Endpoint::Who => read(
            "Who holds a role or a permission, or is let in by a route, and how",
            &[
                ("permission", "Its name"),
                ("role", "Its name"),
                ("route", "A method and a path: `GET /console/audit`"),
            ],
            &[(200, Some("Who"))],
        ),
        Endpoint::Roles => read("Every role", &[], &[(200, Some("Roles"))]),
        Endpoint::Role => read("A role, with its ETag", &[], &[(200, Some("Role"))]),
        Endpoint::PutRole => Described {
            body: Some("NewRole"),
            ..edit(
                "Create a role with what it brings, in one change",
                &[(201, Some("Role")), (200, Some("Preview"))],
            )
        },
        Endpoint::PutParent => edit("Let a role inherit another", &[(200, Some("RoleOrPreview"))]),
        Endpoint::DeleteParent => {
            edit("Stop a role from inheriting another", &[(200, Some("RoleOrPreview"))])
        }
        Endpoint::PutRolePermission => edit("Give a role a permission", &[(200, Some("RoleOrPreview"))]),
        Endpoint::DeleteRolePermission => {
            edit("Take a permission from a role", &[(200, Some("RoleOrPreview"))])
        }
        Endpoint::Permissions => read("Every permission", &[], &[(200, Some("Permissions"))]),
        Endpoint::PutPermission => {
            edit("Create a permission", &[(201, Some("Permission")), (200, Some("Preview"))])
        }
        Endpoint::Groups => read("Every group", &[], &[(200, Some("Groups"))]),
        Endpoint::Group => read("A group with its members, with its ETag", &[], &[(200, Some("Group"))]),
        Endpoint::PutGroup => Described {
            body: Some("NewGroup"),
            ..edit(
                "Create a group with its roles and grantors, in one change",
                &[(201, Some("Group")), (200, Some("Preview"))],
            )
        },
        Endpoint::PutGroupRole => edit("Let a group hold a role", &[(200, Some("GroupOrPreview"))]),
        Endpoint::DeleteGroupRole => edit("Revoke a role from a group", &[(200, Some("GroupOrPreview"))]),
        Endpoint::PutGroupGrantor => {
            edit("Let the members of a group give another group", &[(200, Some("GroupOrPreview"))])
        }
        Endpoint::DeleteGroupGrantor => {
            edit("Stop the members of a group from giving another group", &[(200, Some("GroupOrPreview"))])
        }
        Endpoint::PutRoleGrantor => {
            edit("Let the members of a group give a role", &[(200, Some("RoleOrPreview"))])
        }
        Endpoint::DeleteRoleGrantor => {
            edit("Stop the members of a group from giving a role", &[(200, Some("RoleOrPreview"))])
        }
        Endpoint::Admins => read(
            "Every admin",
            &[("q", "A part of the id, the name or the e-mail address"), PAGE[0], PAGE[1]],
            &[(200, Some("Admins"))],
        ),
        Endpoint::Admin => {
            read("What an admin holds, each with the grants behind it", &[], &[(200, Some("Admin"))])
        }
        Endpoint::AdminRoutes => {
            read("Every route that lets an admin in, and why", &[], &[(200, Some("AdminRoutes"))])
        }
        Endpoint::AdminView => read(
            "What an admin sees of their own access; each look is recorded",
            &[],
            &[(200, Some("AdminView"))],
        ),
        Endpoint::GrantsAudit => read(
            "What was granted and revoked, the newest first",
            &[
                ("user", "The id of the admin that it was about"),
                ("group", "A group's name"),
                ("role", "A role's name"),
                ("event", "`grant`, `revoke`, ..."),
                ("by", "Who did it"),
                PAGE[0],
                PAGE[1],
            ],
            &[(200, Some("GrantsAudit"))],
        ),
        Endpoint::Grants => read(
            "Every grant",
            &[
                ("user", "An admin's id"),
                ("group", "A group's name"),
                ("origin", "`direct`, `timed`, `request`, `ticket` or `break_glass`"),
                ("ticket", "A ticket's number"),
                ("customer", "A customer's number"),
                ("live", "`true` or `false`"),
                PAGE[0],
                PAGE[1],
            ],
            &[(200, Some("Grants"))],
        ),
        Endpoint::PostGrant => Described {
            summary: "Grant an admin the roles of a group",
            query: &[DRY_RUN, EXPECT],
            body: Some("NewGrant"),
            success: &[(201, Some("Grant")), (200, Some("GrantOrPreview"))],
            refusals: CHANGE,
        },
        Endpoint::PostTicketGrant => Described {
            summary: "Grant an admin a role for one ticket and one customer, while the ticket is open",
            query: &[DRY_RUN, EXPECT],
            body: Some("NewTicketGrant"),
            success: &[(201, Some("Grant")), (200, Some("Preview"))],
            refusals: CHANGE,
        },
        Endpoint::DeleteOwnGrant => Described {
            summary: "End a grant of one's own that has an end, a ticket or a session; no permission is needed",
            query: &[DRY_RUN, EXPECT, REASON],
            body: None,
            success: &[(204, None), (200, Some("Preview"))],
            refusals: CHANGE,
        },
        Endpoint::Grant => read("One grant", &[], &[(200, Some("Grant"))]),
        Endpoint::DeleteGrant => Described {
            summary: "End a grant; when this is answered, no gate acts on it any more",
            query: &[DRY_RUN, EXPECT, REASON],
            body: None,
            success: &[(204, None), (200, Some("Preview"))],
            refusals: CHANGE,
        },
        Endpoint::Requests => read(
            "Requests for access that the caller may see, the newest first",
            &[
                ("state", "`pending`, `approved`, `denied` or `withdrawn`"),
                ("mine", "`true`: only those for the caller"),
            ],
            &[(200, Some("Requests"))],
        ),
        Endpoint::PostRequest => Described {
            summary: "Ask to be in a group for a time",
            query: &[],
            body: Some("NewRequest"),
            success: &[(201, Some("Request"))],
            refusals: ASK,
        },
        Endpoint::Request => {
            read("A request with what it would open and close now", &[], &[(200, Some("JudgedRequest"))])
        }
        Endpoint::ApproveRequest => Described {
            summary: "Approve a request, on the basis of the impact that was shown",
            query: &[],
            body: Some("Approve"),
            success: &[(200, Some("Decided"))],
            refusals: CHANGE,
        },
        Endpoint::DenyRequest => Described {
            summary: "Deny a request",
            query: &[],
            body: Some("Deny"),
            success: &[(200, Some("Request"))],
            refusals: CHANGE,
        },
        Endpoint::WithdrawRequest => Described {
            summary: "Take one's own request back",
            query: &[],
            body: None,
            success: &[(200, Some("Request"))],
            refusals: CHANGE,
        },
        Endpoint::GlassSessions => read(
            "Break-glass sessions that the caller may see, the newest first",
            &[],
            &[(200, Some("GlassSessions"))],
        ),
        Endpoint::GlassPage => read(
            "Where the page to start a session from was: it is at /console/rbac/break-glass",
            &[],
            &[(308, None)],
        ),
        Endpoint::GlassOpens => read(
            "What a session of the caller would open, and whether the caller may start one",
            &[],
            &[(200, Some("GlassOpens"))],
        ),
        Endpoint::GlassChallenge => Described {
            summary: "Ask the caller's passkeys to sign for a session",
            query: &[],
            body: Some("GlassAsk"),
            success: &[(200, Some("Challenge"))],
            refusals: CHANGE,
        },
        Endpoint::StartGlass => Described {
            summary: "Start a session, after a channel has accepted the alert",
            query: &[],
            body: Some("GlassStart"),
            success: &[(201, Some("GlassStarted"))],
            refusals: CHANGE,
        },
        Endpoint::GlassSession => read("One session, with its review", &[], &[(200, Some("GlassSession"))]),
        Endpoint::EndGlass => Described {
            summary: "End a session; when this is answered, no gate acts on it any more",
            query: &[REASON],
            body: None,
            success: &[(204, None)],
            refusals: CHANGE,
        },
        Endpoint::GlassRequests => read(
            "The requests that a session has let in; that they were read is recorded",
            &[],
            &[(200, Some("GlassRequests"))],
        ),
        Endpoint::ReviewGlass => Described {
            summary: "Close the review of somebody else's session",
            query: &[],
            body: Some("GlassReview"),
            success: &[(200, Some("GlassSession"))],
            refusals: CHANGE,
        },
        Endpoint::Passkeys => read("The caller's passkeys", &[], &[(200, Some("Passkeys"))]),
        Endpoint::PasskeyChallenge => Described {
            summary: "Begin to register a passkey: with a code, or with the answer of one that is registered",
            query: &[],
            body: Some("PasskeyAsk"),
            success: &[(200, Some("PasskeyChallenge"))],
            refusals: CHANGE,
        },
        Endpoint::PostPasskey => Described {
            summary: "Register a passkey",
            query: &[],
            body: Some("PasskeyAnswer"),
            success: &[(201, Some("Passkey"))],
            refusals: CHANGE,
        },
        Endpoint::Fleet => read("What every gate runs, and since when", &[], &[(200, Some("Fleet"))]),
        Endpoint::Clusters => read(
            "Every cluster between the legacy gate and V2, with its next step",
            &[],
            &[(200, Some("Clusters"))],
        ),
        Endpoint::Cluster => read(
            "A cluster, with the disagreements of the two gates about it",
            &[],
            &[(200, Some("Cluster"))],
        ),
        Endpoint::TurnCluster => Described {
            summary: "Turn a cluster to another mode: the gate writes the mapping file, and waits for every gate",
            query: &[DRY_RUN, EXPECT],
            body: Some("NewMode"),
            success: &[(200, Some("TurnedOrPreview"))],
            refusals: EDIT,
        },
        Endpoint::Mapping => {
            read("The running mapping with its findings, with its ETag", &[], &[(200, Some("Mapping"))])
        }
        Endpoint::MappingHistory => read(
            "Activated and refused mappings, the latest first, and what every gate runs",
            &[PAGE[0]],
            &[(200, Some("MappingHistory"))],
        ),
        Endpoint::MappingDiff => read(
            "What changes from one activated mapping to another",
            &[("from", "At least six digits of its SHA-256"), ("to", "The same of the other one")],
            &[(200, Some("MappingDiff"))],
        ),
        Endpoint::MappingText => {
            read("The text of an activated mapping, with its ETag", &[], &[(200, Some("MappingText"))])
        }
        Endpoint::CompareMapping => Described {
            summary: "The findings in a candidate, and what it would change; nothing is activated",
            query: &[],
            body: Some("Candidate"),
            success: &[(200, Some("Compared"))],
            refusals: CHANGE,
        },
        Endpoint::Timeline => read(
            "What was done to access, the newest first; with `format`, as a file",
            &TIMELINE,
            &[(200, Some("Timeline"))],
        ),
        Endpoint::TimelineEvent => {
            read("One event, with its sealed row", &[], &[(200, Some("TimelineEvent"))])
        }
        Endpoint::Audit => read("Rows of the audit, the newest first", &AUDIT, &[(200, Some("Audit"))]),
        Endpoint::AuditState => read(
            "Whether the newest rows are as they were sealed, and how far checkpoints go",
            &[],
            &[(200, Some("AuditState"))],
        ),
        Endpoint::AuditRow => read("One row of the audit", &[], &[(200, Some("AuditEvent"))]),
        Endpoint::Reviews => read("Reviews of access, the newest first", &[], &[(200, Some("Reviews"))]),
        Endpoint::Review => read(
            "A review with its items, and the digest of all of them",
            &[("undecided", "`true` or `false`"), ("user", "The holder's id"), PAGE[0], PAGE[1]],
            &[(200, Some("Review"))],
        ),
        Endpoint::ReviewItem => read("One item of a review", &[], &[(200, Some("ReviewItem"))]),
        Endpoint::DecideItem => Described {
            summary: "Keep the grant of an item, or end it; when this is answered, no gate acts on an ended grant",
            query: &[DRY_RUN, EXPECT],
            body: Some("Decide"),
            success: &[(200, Some("ItemOrPreview"))],
            refusals: CHANGE,
        },
        Endpoint::CloseReview => Described {
            summary: "Close a review of which every item is decided",
            query: &[],
            body: None,
            success: &[(200, Some("ReviewState"))],
            refusals: CHANGE,
        },
    }
}

//! What a denial offers: where to ask for access to the route that was denied.
//!
//! An offer is looked for after the denial is recorded, for a short time, so that it never delays or changes the denial.

/// Where requests for access are made.
pub const ASK_PATH: &str = "/api/rbac/requests";

/// The policy of a page with the form: it runs no script, and sends forms to this site alone.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";

/// Access that a denied caller can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `GET /console/flags/`.
    pub route: String,
    /// The groups that open the route, the one that brings the least first.
    pub groups: Vec<String>,
    /// For how long that first one can be asked for: `1h`, `2h`.
    pub spans: Vec<String>,
    /// Shows, where a browser sends neither `Sec-Fetch-Site` nor `Origin`, that a page of this site has sent the form.
    pub token: String,
}

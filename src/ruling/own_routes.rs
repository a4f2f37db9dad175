//! Routes that the gate itself serves (`gate = true`): a request that was let in, and who answers it.

use policy::decision::{Denial, Permit};
use policy::firewall::Request;
use policy::ids::RequestId;
use policy::mapping::Mapping;

use super::Options;
use super::offer::Offer;
use super::response::Response;

/// The longest body that such a route takes.
pub const MOST_BODY_BYTES: u64 = 64 * 1024;

/// A request that was let in.
pub struct OwnRequest<'r> {
    pub request: &'r Request,
    pub id: RequestId,
    pub permit: &'r Permit,
    pub body: &'r [u8],
    pub options: &'r Options,
}

/// Answers the requests of the rows that the gate itself serves. They have been decided: what is checked here is what
/// no row can say.
#[async_trait::async_trait]
pub trait ServesOwnRoutes: Send + Sync {
    /// The answer to one request.
    async fn serve(&self, request: OwnRequest<'_>) -> Response;

    /// What somebody who was denied can ask for; `None` where that is nothing, or not known.
    async fn offer(&self, mapping: &Mapping, request: &Request, denial: &Denial) -> Option<Offer>;
}

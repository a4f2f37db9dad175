//! Console's responses, read as strictly as requests are.
//!
//! A response that two parsers could read differently reaches the wrong client: bytes that one parser takes for the end
//! of a body, the next takes for the beginning of the response to another caller's request. So a head is accepted by
//! the strict grammar of RFC 9112 or not at all ([`ResponseFault`], 502), the end of the body is determined in only one
//! way ([`ResponseFraming`], [`crate::body`]), and the connection serves another request only if nothing is in doubt
//! ([`ResponseHead::is_reusable`]).
//!
//! ```text
//! bytes -> ResponseSearch::advance -> ResponseHead::parse -> BodyDecoder::advance -> end
//!                 \-> ResponseFault <------/-------------------/
//! ```
//!
//! Everything is pure: no clock, no socket.

mod fault;
mod fields;
mod head;
mod search;
#[cfg(test)]
mod tests;

pub use fault::ResponseFault;
pub use fields::ResponseFields;
pub use head::{RequestContext, ResponseFraming, ResponseHead};
pub use search::ResponseSearch;

//! Console's responses, read as strictly as requests are.
//!
//! A response that two parsers could read differently reaches the wrong client: what one takes for the end of a body,
//! the next takes for the beginning of the answer to somebody else's request. So a head is taken by the strict grammar
//! of RFC 9112 or not at all ([`ResponseFault`], 502), the end of the body is known in one way only
//! ([`ResponseFraming`], [`crate::body`]), and the connection serves another request only where nothing is left to doubt
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

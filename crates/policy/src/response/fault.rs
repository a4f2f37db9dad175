//! Why a response is not passed on.

/// The fault of a response. The client gets 502, and the connection that the response came over is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ResponseFault {
    #[error("the status line is malformed")]
    StatusLine,
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    #[error("the head is longer than 64 KiB or has more than 256 fields")]
    HeadTooLarge,
    #[error("a line ends in a bare line feed")]
    BareLineFeed,
    #[error("a line contains a bare carriage return")]
    BareCarriageReturn,
    #[error("a field continues on a second line")]
    FoldedField,
    #[error("the name of a field is not a token")]
    FieldName,
    #[error("the value of a field contains a control character")]
    FieldValue,
    #[error("Content-Length is repeated or not a plain number")]
    ContentLength,
    #[error("Transfer-Encoding is repeated or not `chunked`")]
    TransferEncoding,
    #[error("Content-Length and Transfer-Encoding are both present")]
    LengthAndCoding,
    #[error("a chunk is malformed")]
    Chunk,
    #[error("the server switched protocols without being asked to")]
    Upgrade,
    #[error("too many interim responses")]
    Interim,
}

impl ResponseFault {
    /// The stable word for metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            ResponseFault::StatusLine => "status_line",
            ResponseFault::Version => "version",
            ResponseFault::HeadTooLarge => "head_too_large",
            ResponseFault::BareLineFeed => "bare_line_feed",
            ResponseFault::BareCarriageReturn => "bare_carriage_return",
            ResponseFault::FoldedField => "folded_field",
            ResponseFault::FieldName => "field_name",
            ResponseFault::FieldValue => "field_value",
            ResponseFault::ContentLength => "content_length",
            ResponseFault::TransferEncoding => "transfer_encoding",
            ResponseFault::LengthAndCoding => "length_and_coding",
            ResponseFault::Chunk => "chunk",
            ResponseFault::Upgrade => "upgrade",
            ResponseFault::Interim => "interim",
        }
    }
}

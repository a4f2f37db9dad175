//! Why a request was refused, and the status of the answer.

/// The reason why a request never reached the route table.
///
/// A refusal contains none of the client's bytes: it may be logged, counted and answered unchanged, and no client can
/// use it to write into a log line, a metric label or a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The head is not a request line, field lines and one blank line, or has bytes after it.
    #[error("the request head is malformed")]
    MalformedHead,
    /// A line ends in LF without CR (RFC 9112 2.2 lets a recipient accept it; two parsers that differ on it allow
    /// smuggling).
    #[error("a line of the head ends in a bare line feed")]
    BareLineFeed,
    /// A CR that no LF follows (RFC 9112 2.2).
    #[error("the head contains a bare carriage return")]
    BareCarriageReturn,
    /// A TLS handshake on a port for plain HTTP.
    #[error("a TLS handshake arrived on a plain port")]
    TlsHandshake,
    /// The HTTP/2 connection preface on a connection for HTTP/1 (RFC 9113 3.4).
    #[error("an HTTP/2 preface arrived where HTTP/1 is spoken")]
    Http2Preface,
    /// A method outside [`crate::method::Method`], including CONNECT and TRACE.
    #[error("the method is not supported")]
    UnknownMethod,
    /// A well-formed version other than 1.0 and 1.1.
    #[error("the protocol version is not HTTP/1.0 or HTTP/1.1")]
    UnsupportedVersion,
    /// The head did not arrive within the caller's deadline. Only the caller can raise it.
    #[error("the request head took too long to arrive")]
    HeadTimeout,

    /// The target is longer than [`super::Limits::target_bytes`].
    #[error("the request target is too long")]
    TargetTooLong,
    /// The target is neither `/...`, nor the absolute form of a configured host, nor `*` on OPTIONS.
    #[error("the request target has an unsupported form")]
    TargetForm,
    /// White space, a control character, a byte beyond ASCII, or `#`, unescaped.
    #[error("the request target contains a character that must be escaped")]
    TargetCharacter,
    /// `//` in the decoded path, or a segment that begins with `;`.
    #[error("the path contains an empty segment")]
    EmptySegment,
    /// `.` or `..` as a segment of the decoded path.
    #[error("the path contains a dot segment")]
    DotSegment,
    /// `%` without two hexadecimal digits in the path.
    #[error("the path contains a malformed escape")]
    MalformedEscape,
    /// An escape of a control character in the path.
    #[error("the path escapes a control character")]
    ForbiddenEscape,
    /// The decoded path is not UTF-8.
    #[error("the decoded path is not UTF-8")]
    InvalidUtf8,
    /// The decoded path contains a control character, a character that breaks or reorders the line in which it is
    /// shown, an unassigned character, or a digit that some Pythons do not know.
    #[error("the decoded path contains a character that is not allowed")]
    ForbiddenCharacter,

    /// The head is larger than [`super::Limits::head_bytes`].
    #[error("the request head is too large")]
    HeadTooLarge,
    /// More fields than [`super::Limits::header_count`].
    #[error("the request has too many header fields")]
    TooManyFields,
    /// A field larger than [`super::Limits::header_bytes`].
    #[error("a header field is too large")]
    FieldTooLarge,
    /// A field name that is empty, not a token, or one that a server may fold into Content-Length or Transfer-Encoding.
    #[error("a header field name is malformed")]
    FieldName,
    /// A control character in a field value.
    #[error("a header field value contains a control character")]
    FieldValue,
    /// A field line that begins with white space (RFC 9112 5.2, obs-fold).
    #[error("a header field is folded over two lines")]
    FoldedField,
    /// A second field with a name that may occur only once.
    #[error("a header field that may occur only once is repeated")]
    RepeatedField,
    /// A connection-specific field on HTTP/2 (RFC 9113 8.2.2).
    #[error("a connection-specific header field arrived over HTTP/2")]
    ConnectionFieldOnHttp2,

    /// Neither a Host field nor an `:authority`.
    #[error("the host is missing")]
    HostMissing,
    /// A host that is not `name[:port]` or `[address][:port]`.
    #[error("the host is malformed")]
    HostMalformed,
    /// A host that is not one of the configured ones.
    #[error("the host is not allowed")]
    HostNotAllowed,
    /// The host of the target and that of the Host field differ.
    #[error("the request names two different hosts")]
    HostMismatch,

    /// A Content-Length other than `0` or `[1-9][0-9]{0,15}`, or one that the message contradicts.
    #[error("the content length is malformed")]
    ContentLength,
    /// A Transfer-Encoding other than exactly `chunked`, or any on HTTP/1.0.
    #[error("the transfer coding is not supported")]
    TransferEncoding,
    /// Content-Length together with Transfer-Encoding.
    #[error("the request has a content length and a transfer coding")]
    LengthAndCoding,
    /// A body larger than [`super::Limits::body_bytes`]. The caller can raise it too, after counting a chunked body.
    #[error("the request body is too large")]
    BodyTooLarge,

    /// A chunked body that breaks the grammar of chunks, extensions or trailers.
    #[error("the chunks of the body are malformed")]
    ChunkMalformed,
    /// More extensions or trailers than [`super::ChunkBounds`] allows.
    #[error("the chunk extensions or trailers of the body are too large")]
    ChunkExtras,

    /// A Connection option that names a field which would otherwise pass.
    #[error("the connection field names another field")]
    ConnectionOption,
    /// An Upgrade to WebSocket that is not a complete handshake (RFC 6455 4.1), or where the row does not allow one.
    #[error("the upgrade to WebSocket is incomplete or not allowed here")]
    Upgrade,
    /// An expectation other than 100-continue.
    #[error("the expectation is not supported")]
    Expectation,
}

impl Refusal {
    /// Every refusal, so that a metric can be declared for each before the first one happens.
    pub const ALL: [Refusal; 38] = [
        Refusal::MalformedHead,
        Refusal::BareLineFeed,
        Refusal::BareCarriageReturn,
        Refusal::TlsHandshake,
        Refusal::Http2Preface,
        Refusal::UnknownMethod,
        Refusal::UnsupportedVersion,
        Refusal::HeadTimeout,
        Refusal::TargetTooLong,
        Refusal::TargetForm,
        Refusal::TargetCharacter,
        Refusal::EmptySegment,
        Refusal::DotSegment,
        Refusal::MalformedEscape,
        Refusal::ForbiddenEscape,
        Refusal::InvalidUtf8,
        Refusal::ForbiddenCharacter,
        Refusal::HeadTooLarge,
        Refusal::TooManyFields,
        Refusal::FieldTooLarge,
        Refusal::FieldName,
        Refusal::FieldValue,
        Refusal::FoldedField,
        Refusal::RepeatedField,
        Refusal::ConnectionFieldOnHttp2,
        Refusal::HostMissing,
        Refusal::HostMalformed,
        Refusal::HostNotAllowed,
        Refusal::HostMismatch,
        Refusal::ContentLength,
        Refusal::TransferEncoding,
        Refusal::LengthAndCoding,
        Refusal::BodyTooLarge,
        Refusal::ChunkMalformed,
        Refusal::ChunkExtras,
        Refusal::ConnectionOption,
        Refusal::Upgrade,
        Refusal::Expectation,
    ];

    /// A stable word for logs and metric labels.
    pub const fn word(self) -> &'static str {
        match self {
            Refusal::MalformedHead => "malformed_head",
            Refusal::BareLineFeed => "bare_line_feed",
            Refusal::BareCarriageReturn => "bare_carriage_return",
            Refusal::TlsHandshake => "tls_handshake",
            Refusal::Http2Preface => "http2_preface",
            Refusal::UnknownMethod => "unknown_method",
            Refusal::UnsupportedVersion => "unsupported_version",
            Refusal::HeadTimeout => "head_timeout",
            Refusal::TargetTooLong => "target_too_long",
            Refusal::TargetForm => "target_form",
            Refusal::TargetCharacter => "target_character",
            Refusal::EmptySegment => "empty_segment",
            Refusal::DotSegment => "dot_segment",
            Refusal::MalformedEscape => "malformed_escape",
            Refusal::ForbiddenEscape => "forbidden_escape",
            Refusal::InvalidUtf8 => "invalid_utf8",
            Refusal::ForbiddenCharacter => "forbidden_character",
            Refusal::HeadTooLarge => "head_too_large",
            Refusal::TooManyFields => "too_many_fields",
            Refusal::FieldTooLarge => "field_too_large",
            Refusal::FieldName => "field_name",
            Refusal::FieldValue => "field_value",
            Refusal::FoldedField => "folded_field",
            Refusal::RepeatedField => "repeated_field",
            Refusal::ConnectionFieldOnHttp2 => "connection_field_on_http2",
            Refusal::HostMissing => "host_missing",
            Refusal::HostMalformed => "host_malformed",
            Refusal::HostNotAllowed => "host_not_allowed",
            Refusal::HostMismatch => "host_mismatch",
            Refusal::ContentLength => "content_length",
            Refusal::TransferEncoding => "transfer_encoding",
            Refusal::LengthAndCoding => "length_and_coding",
            Refusal::BodyTooLarge => "body_too_large",
            Refusal::ChunkMalformed => "chunk_malformed",
            Refusal::ChunkExtras => "chunk_extras",
            Refusal::ConnectionOption => "connection_option",
            Refusal::Upgrade => "upgrade",
            Refusal::Expectation => "expectation",
        }
    }

    /// The status of the answer: 400, or 405, 408, 413, 414, 431 or 505 where those fit (RFC 9110 15.5, RFC 6585 5).
    pub const fn status(self) -> u16 {
        match self {
            Refusal::UnknownMethod => 405,
            Refusal::HeadTimeout => 408,
            Refusal::BodyTooLarge => 413,
            Refusal::TargetTooLong => 414,
            Refusal::HeadTooLarge | Refusal::TooManyFields | Refusal::FieldTooLarge => 431,
            Refusal::UnsupportedVersion => 505,
            _ => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_are_distinct_and_fit_a_metric_label() {
        let words: HashSet<_> = Refusal::ALL.into_iter().map(Refusal::word).collect();
        assert_eq!(words.len(), Refusal::ALL.len());
        for word in words {
            assert!(word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{word}");
        }
    }

    /// Word, status and sentence of each, as documents and operators have them.
    #[test]
    fn the_table_of_refusals_is_the_one_that_is_kept() {
        const KEPT: &str =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/refusals.txt"));
        let table: String = Refusal::ALL
            .into_iter()
            .map(|refusal| format!("{}\t{}\t{refusal}\n", refusal.word(), refusal.status()))
            .collect();
        assert_eq!(table, KEPT, "write this into tests/golden/refusals.txt:\n{table}");
    }

    #[test]
    fn all_of_them_are_listed_in_order() {
        assert_eq!(Refusal::ALL.len(), Refusal::Expectation as usize + 1);
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index, "{refusal:?}");
        }
    }

    #[test]
    fn every_status_is_a_client_error_or_505() {
        for refusal in Refusal::ALL {
            assert!(matches!(refusal.status(), 400 | 405 | 408 | 413 | 414 | 431 | 505), "{refusal:?}");
        }
    }
}

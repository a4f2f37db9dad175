//! The head of an answer, read the naive way: as text, cut at line ends and at the first colon.

use policy::method::Method;
use policy::response::{RequestContext, ResponseFraming};

/// What the lines say.
#[derive(Debug)]
pub struct NaiveResponse {
    pub status: u16,
    pub reason: Vec<u8>,
    /// Names in lower case; without those that speak of the connection.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub framing: ResponseFraming,
    pub is_reusable: bool,
}

const MOST_FIELDS: usize = 256;

/// Reads a head with its blank line; `None` for what is not to be passed on.
pub fn read(head: &[u8], asked: RequestContext) -> Option<NaiveResponse> {
    // One byte is one character in Latin-1, so nothing is lost on the way.
    let text: String = head.iter().copied().map(char::from).collect();
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let first = lines.next()?;
    let is_http11 = first.starts_with("HTTP/1.1 ");
    let rest = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "))?;
    let code: String = rest.chars().take(3).filter(char::is_ascii_digit).collect();
    let status: u16 = code.parse().ok().filter(|status| code.len() == 3 && (100..600).contains(status))?;
    let reason = &rest[3..];
    if !(reason.is_empty() || reason.starts_with(' ')) || !is_text(reason) {
        return None;
    }
    let fields = lines.map(field).collect::<Option<Vec<(String, String)>>>()?;
    let only = |name: &str| {
        let mut values = fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        (values.next(), values.next().is_some())
    };
    let (length, coding) = match (only("content-length"), only("transfer-encoding")) {
        ((_, true), _) | (_, (_, true)) | ((Some(_), _), (Some(_), _)) => return None,
        ((length, _), (coding, _)) => (length, coding),
    };
    let length: Option<u64> = match length {
        None => None,
        // Nothing is longer than 16 digits can say.
        Some(text) if text.len() > 16 => return None,
        Some(text) => Some(text.parse().ok().filter(|number: &u64| number.to_string() == text)?),
    };
    if coding.is_some_and(|coding| !is_http11 || !coding.eq_ignore_ascii_case("chunked")) {
        return None;
    }
    let options: Vec<String> = fields
        .iter()
        .filter(|(name, _)| name == "connection")
        .flat_map(|(_, value)| {
            value.split(',').map(|option| option.trim_matches([' ', '\t']).to_ascii_lowercase())
        })
        .collect();
    let says = |option: &str| options.iter().any(|other| other == option);
    if status == 101 {
        let (protocol, is_twice) = only("upgrade");
        let is_websocket = protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
        if !asked.upgrade || !is_http11 || !says("upgrade") || !is_websocket || is_twice {
            return None;
        }
    }
    let framing = match (status, coding, length) {
        (100..200 | 204 | 304, ..) => ResponseFraming::None,
        _ if asked.method == Method::Head => ResponseFraming::None,
        (_, Some(_), _) => ResponseFraming::Chunked,
        (_, _, Some(length)) => ResponseFraming::Length(length),
        _ => ResponseFraming::UntilClose,
    };
    // A body may come yet where none belongs.
    let is_doubtful = framing == ResponseFraming::None
        && (asked.method == Method::Head || coding.is_some() || length.is_some_and(|length| length > 0));
    let keeps = !says("close") && (is_http11 || says("keep-alive"));
    let passed: Vec<(String, String)> = fields
        .iter()
        .filter(|(name, _)| {
            ![
                "content-length",
                "keep-alive",
                "proxy-connection",
                "te",
                "trailer",
                "transfer-encoding",
                "upgrade",
                "connection",
            ]
            .contains(&name.as_str())
        })
        .cloned()
        .collect();
    if passed.len() > MOST_FIELDS {
        return None;
    }
    let nominated = |name: &str| !["close", "keep-alive", "upgrade"].contains(&name) && says(name);
    let bytes = |text: &str| text.chars().map(|character| character as u8).collect::<Vec<u8>>();
    Some(NaiveResponse {
        status,
        reason: bytes(reason.strip_prefix(' ').unwrap_or("")),
        fields: passed
            .iter()
            .filter(|(name, _)| !nominated(name))
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
        framing,
        is_reusable: keeps && !is_doubtful && status != 101 && framing != ResponseFraming::UntilClose,
    })
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let is_token =
        |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
    let value = value.trim_matches([' ', '\t']);
    let is_field = !name.is_empty() && name.chars().all(is_token) && is_text(value);
    is_field.then(|| (name.to_ascii_lowercase(), value.to_owned()))
}

fn is_text(text: &str) -> bool {
    text.chars().all(|character| character == '\t' || !(character < ' ' || character == '\u{7f}'))
}

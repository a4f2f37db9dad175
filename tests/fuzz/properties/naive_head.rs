//! The head of a request, read the naive way: split at line ends, at spaces, at the first colon.

/// What the lines say.
pub struct NaiveHead<'h> {
    pub method: &'h [u8],
    pub target: &'h [u8],
    pub version: &'h [u8],
    /// Names in lower case, values without the spaces and tabs around them; in the order of their lines.
    pub fields: Vec<(String, Vec<u8>)>,
}

/// Reads a head that has passed the firewall, so that nothing here needs to be looked at twice.
pub fn read(head: &[u8]) -> NaiveHead<'_> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, target, version) = (word(), word(), word());
    let fields = lines.take_while(|line| !line.is_empty()).map(field).collect();
    NaiveHead { method, target, version, fields }
}

fn field(line: &[u8]) -> (String, Vec<u8>) {
    let mut halves = line.splitn(2, |byte| *byte == b':');
    let name = String::from_utf8_lossy(halves.next().unwrap_or_default()).to_lowercase();
    // One byte is one character in Latin-1, so nothing is lost on the way.
    let value: String = halves.next().unwrap_or_default().iter().copied().map(char::from).collect();
    let value = value.trim_matches([' ', '\t']).chars().map(|character| character as u8).collect();
    (name, value)
}

impl NaiveHead<'_> {
    /// The value of a field that occurs once; `None` without it.
    pub fn only(&self, name: &str) -> Option<&[u8]> {
        let mut values =
            self.fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice());
        let value = values.next();
        assert!(values.next().is_none(), "`{name}` occurs twice");
        value
    }

    /// The values of every field of this name.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice()).collect()
    }

    /// Whether some field of this name has this element in its list, in any letter case.
    pub fn lists(&self, name: &str, element: &str) -> bool {
        let is_element = |part: &[u8]| part.trim_ascii().eq_ignore_ascii_case(element.as_bytes());
        self.fields
            .iter()
            .any(|(other, value)| other == name && value.split(|byte| *byte == b',').any(is_element))
    }
}
